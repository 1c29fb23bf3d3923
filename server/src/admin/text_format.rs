//! Prometheus' text format 0.0.4, for who does not ask for `OpenMetrics`: the same series, under headers that name them as they are.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

/// The media type of the format.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What `OpenMetrics` calls a family stands in front of a suffix that its kind has; here the family has the whole name.
pub(super) fn of_open_metrics(text: &str) -> String {
    let mut converted = String::with_capacity(text.len());
    // The help stands before the type, which decides on the name.
    let mut help = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            let header = format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
            converted.push_str(&header);
        } else if !line.starts_with('#') {
            converted.push_str(line);
            converted.push('\n');
        }
    }
    converted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_the_names_of_their_series() {
        let open_metrics = "# HELP a Of a.\n# TYPE a counter\n# UNIT a bytes\na_total{x=\"# y\"} 1\n\
                            # HELP b Of b\n# TYPE b info\nb_info{v=\"1\"} 1\n\
                            # HELP c C\n# TYPE c gauge\nc 2\n# EOF\n";
        let expect = "# HELP a_total Of a.\n# TYPE a_total counter\na_total{x=\"# y\"} 1\n\
                      # HELP b_info Of b\n# TYPE b_info gauge\nb_info{v=\"1\"} 1\n\
                      # HELP c C\n# TYPE c gauge\nc 2\n";
        assert_eq!(of_open_metrics(open_metrics), expect);
    }
}
