//! [`Report`]: what passed, what failed and why, as it happens, and the closing line that CI counts.

use std::io::Write;
use std::time::Instant;

use crate::error::CompatError;
use crate::process;

/// How much of a failed run's log is shown.
const LOG_LINES_SHOWN: usize = 60;

/// Writes a line for each case to `out` and counts.
pub(crate) struct Report<'a> {
    out: &'a mut dyn Write,
    passed: u32,
    failed: u32,
    not_run: u32,
}

impl<'a> Report<'a> {
    /// A report of nothing yet.
    pub(crate) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, passed: 0, failed: 0, not_run: 0 }
    }

    /// Says what is not a verdict: a version, a variant that the client does not offer.
    pub(crate) fn note(&mut self, subject: &str, text: &str) {
        self.line(&format!("      {subject}: {text}"));
    }

    /// Counts what could not be run here, which is no verdict either.
    pub(crate) fn not_run(&mut self, name: &str, reason: &str) {
        self.not_run += 1;
        self.line(&format!("-     {name}: not run: {reason}"));
    }

    /// Runs one case; its answer says what was seen.
    pub(crate) fn case(&mut self, name: &str, run: impl FnOnce() -> Result<String, CompatError>) {
        let begun = Instant::now();
        match run() {
            Ok(seen) => {
                self.passed += 1;
                let seconds = begun.elapsed().as_secs_f64();
                self.line(&format!("ok    {name} ({seconds:.1} s): {seen}"));
            }
            Err(error) => self.failure(name, &error),
        }
    }

    /// Counts a failure and shows the end of the log that goes with it.
    pub(crate) fn failure(&mut self, name: &str, error: &CompatError) {
        self.failed += 1;
        self.line(&format!("FAIL  {name}"));
        for line in error.to_string().lines() {
            self.line(&format!("      {line}"));
        }
        let Some(log) = error.log() else { return };
        self.line(&format!("      the end of {}:", log.display()));
        let text = process::read(log).unwrap_or_else(|unread| unread.to_string());
        let lines: Vec<_> = text.lines().collect();
        for line in &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..] {
            self.line(&format!("      | {line}"));
        }
    }

    /// Writes the closing line; whether all is well. A run without a case is not.
    pub(crate) fn close(mut self) -> bool {
        let (passed, failed) = (self.passed, self.failed);
        let not_run = match self.not_run {
            0 => String::new(),
            count => format!(", {count} not run"),
        };
        self.line(&format!("compat: {passed} passed, {failed} failed{not_run}"));
        failed == 0 && passed > 0
    }

    /// A reader that went away ends the output, not the runs: the exit code still tells.
    fn line(&mut self, text: &str) {
        let _unread = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close_after(cases: &[bool]) -> (bool, String) {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out);
        for passes in cases {
            report.case("client/case", || {
                let missing = CompatError::Missing { program: "p", package: "k", reason: "r" };
                if *passes { Ok("seen".to_owned()) } else { Err(missing) }
            });
        }
        let well = report.close();
        let text = String::from_utf8(out).unwrap();
        (well, text.lines().last().unwrap().to_owned())
    }

    #[test]
    fn the_closing_line_counts_and_an_empty_run_is_a_failure() {
        let table: [(&[bool], bool, &str); 4] = [
            (&[true, true], true, "compat: 2 passed, 0 failed"),
            (&[true, false], false, "compat: 1 passed, 1 failed"),
            (&[false], false, "compat: 0 passed, 1 failed"),
            (&[], false, "compat: 0 passed, 0 failed"),
        ];
        for (cases, well, line) in table {
            assert_eq!(close_after(cases), (well, line.to_owned()), "{cases:?}");
        }
    }

    #[test]
    fn what_was_not_run_is_counted_and_is_no_pass() {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out);
        report.not_run("client", "no such Python");
        assert!(!report.close());
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("compat: 0 passed, 0 failed, 1 not run\n"), "{text}");
    }
}
