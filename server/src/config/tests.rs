//! Precedence, all problems at once, and that no setting is forgotten anywhere.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::*;

fn machine() -> Machine {
    Machine {
        cache_dir: Some(PathBuf::from("/home/builder/.cache")),
        cores: NonZeroUsize::new(4).unwrap(),
        memory: ByteSize::gib(2),
        disk_room: |_| Some(DiskRoom { free: ByteSize::gib(30), used: ByteSize::gib(10) }),
        disk_size: |_| Some(ByteSize::gib(50)),
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn check(sources: Sources) -> Result<Config, Vec<String>> {
    Config::check(sources, &machine())
        .map_err(|problems| problems.0.iter().map(ToString::to_string).collect())
}

fn defaults() -> Config {
    check(Sources::default()).unwrap()
}

fn flags(pairs: &[(&str, &str)]) -> Sources {
    let mut sources = Sources::default();
    for (key, text) in pairs {
        sources.set(Origin::Flag, key, *text);
    }
    sources
}

#[test]
fn defaults_fit_the_machine() {
    let config = defaults();
    assert_eq!(config.data_dir, Path::new("/home/builder/.cache/larder"));
    assert_eq!(config.max_size, ByteSize::gib(20));
    assert_eq!(config.hot.capacity, ByteSize::mib(256));
    assert_eq!(config.workers.get(), 4);
    assert_eq!(config.max_in_flight, ByteSize::mib(512));
    assert_eq!(config.max_blob_size, None);
}

#[test]
fn the_hot_tier_is_by_default_no_more_than_a_quarter_of_the_store() {
    for (max_size, expect) in [
        ("16MiB", ByteSize::mib(4)),
        ("1023MiB", ByteSize::bytes(1023 << 18)),
        ("1GiB", ByteSize::mib(256)),
        ("1TiB", ByteSize::mib(256)),
    ] {
        let config = check(flags(&[("max_size", max_size)])).unwrap();
        assert_eq!(config.hot.capacity, expect, "max_size {max_size}");
        assert!(config.hot.max_blob_size <= expect);
    }
    let said = check(flags(&[("max_size", "16MiB"), ("hot.capacity", "64MiB")])).unwrap();
    assert_eq!(said.hot.capacity, ByteSize::mib(64), "what is said holds");
}

#[test]
fn flags_over_environment_over_file_over_default() {
    // Which of the sources speak, and what holds then.
    for (flag, variable, in_file, expect) in [
        (None, None, None, "info"),
        (None, None, Some("warn"), "warn"),
        (None, Some("debug"), None, "debug"),
        (None, Some("debug"), Some("warn"), "debug"),
        (Some("error"), None, None, "error"),
        (Some("error"), None, Some("warn"), "error"),
        (Some("error"), Some("debug"), None, "error"),
        (Some("error"), Some("debug"), Some("warn"), "error"),
    ] {
        let mut sources = Sources::default();
        if let Some(text) = in_file {
            sources.add_file(file(&format!("log.level = '{text}'")).path());
        }
        let variable_pair = variable.map(|text| ("LARDER_LOG_LEVEL".to_owned(), text.to_owned()));
        sources.add_environment(variable_pair);
        if let Some(text) = flag {
            sources.set(Origin::Flag, "log.level", text);
        }
        let config = check(sources).unwrap();
        assert_eq!(config.log.level.as_str(), expect, "{flag:?} {variable:?} {in_file:?}");
    }
}

#[test]
fn every_setting_is_read_from_the_file_and_from_the_environment() {
    for setting in SETTINGS {
        // No setting takes an empty text, so each that is read complains.
        let mut from_file = Sources::default();
        from_file.add_file(file(&format!("{} = ''", setting.key)).path());
        let mut from_environment = Sources::default();
        from_environment.add_environment([(setting.variable(), String::new())]);
        for (sources, origin) in
            [(from_file, "/tmp"), (from_environment, setting.variable().as_str())]
        {
            let problems = check(sources).unwrap_err().join("\n");
            let expect = format!("{}: \"\" is not ", setting.key);
            assert!(problems.starts_with(&expect), "{problems}");
            assert!(problems.contains(&format!("(from {origin}")), "{problems}");
        }
    }
}

#[test]
fn a_misspelt_variable_is_refused_unless_it_is_another_programs() {
    let problems = |names: &[&str]| {
        let mut sources = Sources::default();
        let pairs = names.iter().map(|name| ((*name).to_owned(), "x".to_owned()));
        sources.add_environment(pairs);
        check(sources).err().unwrap_or_default()
    };
    assert_eq!(
        problems(&["LARDER_MAX_SISE", "LARDER_HOT_CAPACITYY", "LARDER_FLUX_COMPENSATOR"]),
        [
            "LARDER_MAX_SISE: unknown setting; did you mean LARDER_MAX_SIZE?",
            "LARDER_HOT_CAPACITYY: unknown setting; did you mean LARDER_HOT_CAPACITY?",
            "LARDER_FLUX_COMPENSATOR: unknown setting",
        ]
    );
    let others = [
        "LARDERS",
        "PATH",
        "MY_LARDER_X",
        "LARDER_CONFIG",
        "LARDER_SERVICE_HOST",
        "LARDER_SERVICE_PORT",
        "LARDER_SERVICE_PORT_GRPC",
        "LARDER_PORT",
        "LARDER_PORT_8980_TCP",
        "LARDER_PORT_8980_TCP_ADDR",
        "LARDER_CACHE_SERVICE_HOST",
        "LARDER_CACHE_PORT_53_UDP_PROTO",
    ];
    assert_eq!(problems(&others), [""; 0]);
    assert_eq!(problems(&["LARDER_PORT_X"]).len(), 1);
}

#[test]
fn all_problems_come_at_once() {
    let file = file(
        "max_sise = '1GiB'\n\
         log = 3\n\
         tls = ['a']\n\
         data_dir = ['/d']\n\
         hot = { capacity = '9GiB', capasity = 3 }\n\
         [compression]\n\
         level = 20\n\
         [flux]\n\
         density = 1\n",
    );
    let mut sources = flags(&[("workers", "0"), ("drain_timeout", "2h")]);
    sources.add_file(file.path());
    let path = file.path().display();
    let problems = check(sources).unwrap_err();
    for expect in [
        format!("max_sise: unknown setting; did you mean max_size? (from {path}:1)"),
        format!("log: one value where a table of settings belongs (from {path}:2)"),
        format!("tls: an array where a table of settings belongs (from {path}:3)"),
        format!("data_dir: an array where one value belongs (from {path}:4)"),
        format!("hot.capasity: unknown setting; did you mean hot.capacity? (from {path}:5)"),
        format!("flux: unknown setting (from {path}:8)"),
        "workers: \"0\" is not a whole number from 1 on (from --workers)".to_owned(),
        "drain_timeout: 2h is over the limit of 1h (from --drain-timeout)".to_owned(),
        format!("compression.level: 20 is over the limit of 19 (from {path}:7)"),
        format!("hot.capacity: 9GiB is over the limit of 2GiB (from {path}:5)"),
    ] {
        assert!(problems.contains(&expect), "{expect} is not in {problems:#?}");
    }
    assert_eq!(problems.len(), 10, "{problems:#?}");
}

#[test]
fn limits_that_depend_on_others() {
    for (pairs, expect) in [
        (
            &[("listen", "0.0.0.0:8980")][..],
            "listen: 0.0.0.0:8980 is reachable from other machines",
        ),
        (
            &[("admin_listen", "[::]:8981")],
            "admin_listen: [::]:8981 is reachable from other machines",
        ),
        (&[("listen", "[::]:0")], "listen: [::]:0 is reachable from other machines"),
        (&[("listen", "127.0.0.1:8981")], "admin_listen: 127.0.0.1:8981 is the address of listen"),
        (
            &[("max_size", "1GiB"), ("max_blob_size", "2GiB")],
            "max_blob_size: 2GiB is over the limit of 1GiB",
        ),
        (
            &[("hot.capacity", "1MiB"), ("hot.max_blob_size", "2MiB")],
            "hot.max_blob_size: 2MiB is over the limit of 1MiB",
        ),
        (
            &[("default_digest_function", "git=GITSHA1")],
            "default_digest_function: GITSHA1 is not in weak_digest_functions",
        ),
        (
            &[("default_digest_function", "a=BLAKE3,b=BLAKE3,a=SHA256TREE")],
            "default_digest_function: a=BLAKE3 and a=SHA256TREE contradict each other",
        ),
        (&[("fetch.enabled", "true")], "fetch.allow: names no host, but fetch.enabled is true"),
        (&[("sync_interval", "1ms")], "sync_interval: 1ms is below the limit of 10ms"),
        (&[("max_size", "1kB")], "max_size: 1kB is below the limit of 16MiB"),
    ] {
        let problems = check(flags(pairs)).unwrap_err();
        assert!(problems.len() == 1 && problems[0].starts_with(expect), "{problems:#?}");
    }
    for pairs in [
        &[("listen", "0.0.0.0:8980"), ("unsafe_anonymous", "true")][..],
        &[("listen", "[::1]:8980")],
        &[("listen", "[::ffff:127.0.0.1]:8980")],
        &[("listen", "127.0.0.1:0"), ("admin_listen", "127.0.0.1:0")],
        &[("hot.capacity", "0")],
    ] {
        check(flags(pairs)).unwrap();
    }
}

#[test]
fn the_hosts_that_may_be_asked_are_a_list() {
    let mut sources = Sources::default();
    sources
        .add_file(file("[fetch]\nenabled = true\nallow = ['github.com', '*.example.com']").path());
    let fetch = check(sources).unwrap().fetch.unwrap();
    assert_eq!(fetch.allow.show(), "github.com, *.example.com");
    assert_eq!(check(flags(&[("fetch.allow", "github.com")])).unwrap().fetch, None, "off");
}

/// What is wrong with these settings; none, if nothing is.
fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
    check(flags(pairs)).err().unwrap_or_default()
}

#[test]
fn tls_and_auth_are_whole_or_refused() {
    let tls = [("tls.cert_file", "c"), ("tls.key_file", "k")];
    let with = |more: &[(&'static str, &'static str)]| problems(&[&tls[..], more].concat());
    assert_eq!(problems(&tls[..1]), ["tls.cert_file: needs tls.key_file"]);
    assert_eq!(problems(&tls[1..]), ["tls.key_file: needs tls.cert_file"]);
    assert_eq!(problems(&[("tls.admin", "true")]), ["tls.admin: needs tls.cert_file"]);
    assert_eq!(with(&[("tls.client_ca_file", "a")]), ["tls.client_ca_file: needs tls.client_auth"]);
    let asks = [("tls.client_auth", "required"), ("tls.client_ca_file", "a")];
    assert!(with(&asks)[0].starts_with("tls.client_auth: nobody may do anything"));
    assert_eq!(with(&[asks[0], asks[1], ("auth.certificates", "read")]), [""; 0]);
    assert_eq!(with(&[asks[0], asks[1], ("auth.credentials_file", "f")]), [""; 0]);
    assert_eq!(
        problems(&[("auth.certificates", "read"), ("auth.header", "x-key")]),
        ["auth.certificates: needs tls.client_auth", "auth.header: needs auth.credentials_file"]
    );
    assert!(problems(&[("auth.anonymous", "none")])[0].contains("nobody may do anything"));
    assert_eq!(
        problems(&[("auth.anonymous", "write")]),
        ["auth.anonymous: write is over the limit of read (from --auth-anonymous)"]
    );
}

#[test]
fn who_asks_may_listen_beyond_loopback() {
    let everywhere = ("listen", "0.0.0.0:1");
    assert!(problems(&[everywhere])[0].contains("no authentication"));
    assert_eq!(problems(&[everywhere, ("auth.credentials_file", "f")]), [""; 0]);
    assert_eq!(problems(&[everywhere, ("auth.anonymous", "read")]), [""; 0]);
    let tls_alone = [everywhere, ("tls.cert_file", "c"), ("tls.key_file", "k")];
    assert!(problems(&tls_alone)[0].contains("no authentication"));
}

#[test]
fn lists_are_texts_arrays_or_tables() {
    for text in [
        "weak_digest_functions = 'SHA1, MD5'\ndefault_digest_function = '=BLAKE3,b=SHA1'",
        "weak_digest_functions = ['SHA1', 'MD5']\ndefault_digest_function = ['=BLAKE3', 'b=SHA1']",
        "weak_digest_functions = ['SHA1', 'MD5']\n[default_digest_function]\n'' = 'BLAKE3'\nb = 'SHA1'",
    ] {
        let mut sources = Sources::default();
        sources.add_file(file(text).path());
        let config = check(sources).unwrap();
        assert_eq!(config.weak_digest_functions.show(), "SHA1,MD5", "{text}");
        assert_eq!(config.default_digest_function.show(), "=BLAKE3,b=SHA1", "{text}");
    }
    for (text, expect) in [
        ("weak_digest_functions = []", ""),
        ("weak_digest_functions = [1]", "weak_digest_functions: its items are not all texts"),
        ("[default_digest_function]\n'a,b' = 'BLAKE3'", "default_digest_function: \"a,b=BLAKE3\""),
        ("[default_digest_function]\na = 3", "default_digest_function: its items are not"),
        ("max_size = ['1GiB']", "max_size: an array where one value belongs"),
    ] {
        let mut sources = Sources::default();
        sources.add_file(file(text).path());
        let problems = check(sources).err().unwrap_or_default().join("\n");
        assert!(
            problems.starts_with(expect) && problems.is_empty() == expect.is_empty(),
            "{problems}"
        );
    }
}

#[test]
fn numbers_are_as_toml_has_them() {
    let mut sources = Sources::default();
    let text = "workers = 0x1_0\nmax_size = 1_000_000_000\nhot.capacity = 0\n\
                traces.sample_ratio = 1e-3\naccess_log.sample_ratio = 0.250\n\
                access_log.to = 'a'\ntraces.endpoint = 'http://h'";
    sources.add_file(file(text).path());
    let config = check(sources).unwrap();
    assert_eq!((config.workers.get(), config.max_size), (16, ByteSize::bytes(1_000_000_000)));
    assert_eq!(config.traces.unwrap().sample_ratio.show(), "0.001");
    assert_eq!(config.access_log.unwrap().sample_ratio.show(), "0.25");
    for (text, expect) in [
        ("max_size = 1.5", "max_size: \"1.5\" is not a size"),
        ("workers = 99999999999999999999", "workers: \"99999999999999999999\" is not a whole"),
        ("workers = inf", "workers: \"inf\" is not a whole"),
    ] {
        let mut sources = Sources::default();
        sources.add_file(file(text).path());
        let problems = check(sources).unwrap_err();
        assert!(problems[0].starts_with(expect), "{problems:#?}");
    }
}

#[test]
fn files_that_cannot_be_read() {
    for (text, expect) in [
        ("listen = '127.0.0.1:1'\n= 3\n".to_owned(), ":2: "),
        ("workers = 1\nworkers = 2\n".to_owned(), ":2: duplicate key"),
        ("#".repeat((1 << 20) + 1), "longer than the limit of 1048576 B"),
    ] {
        let mut sources = Sources::default();
        sources.add_file(file(&text).path());
        let problems = check(sources).unwrap_err();
        assert!(problems[0].contains(expect), "{problems:#?}");
    }
    let mut sources = Sources::default();
    sources.add_file(Path::new("/nonexistent/larder.toml"));
    let problems = check(sources).unwrap_err();
    assert!(problems[0].starts_with("/nonexistent/larder.toml: No such file"), "{problems:#?}");
}

#[test]
fn a_machine_without_facts_names_the_setting_to_give() {
    let bare = Machine { cache_dir: None, disk_room: |_| None, ..machine() };
    let problems = Config::check(Sources::default(), &bare).unwrap_err().to_string();
    assert!(problems.starts_with("data_dir: no default on this machine"), "{problems}");
    let problems = Config::check(flags(&[("data_dir", "/d")]), &bare).unwrap_err().to_string();
    assert!(problems.starts_with("max_size: no default on this machine"), "{problems}");
    Config::check(flags(&[("data_dir", "/d"), ("max_size", "1GiB")]), &bare).unwrap();
}

#[test]
fn what_stays_free_fits_the_file_system() {
    let on = |disk_size, pairs: &[(&str, &str)]| {
        let mut sources = flags(pairs);
        sources.set(Origin::Flag, "max_size", "64MiB");
        Config::check(sources, &Machine { disk_size, ..machine() })
            .map(|config| config.min_free_disk)
            .map_err(|problems| problems.to_string())
    };
    assert_eq!(on(|_| Some(ByteSize::gib(50)), &[]), Ok(ByteSize::gib(1)));
    assert_eq!(on(|_| Some(ByteSize::gib(1)), &[]), Ok(ByteSize::mib(51)));
    assert_eq!(on(|_| Some(ByteSize::mib(500)), &[]), Ok(ByteSize::mib(25)));
    assert_eq!(on(|_| None, &[]), Ok(ByteSize::gib(1)));
    let small = |_: &Path| Some(ByteSize::mib(500));
    assert_eq!(on(small, &[("min_free_disk", "484MiB")]), Ok(ByteSize::mib(484)));
    let expect = "min_free_disk: 485MiB of a file system of 500MiB leave less than 16MiB to the \
                  cache (from --min-free-disk)";
    assert_eq!(on(small, &[("min_free_disk", "485MiB")]).unwrap_err().trim(), expect);
}

#[test]
fn what_is_shown_checks_to_the_same() {
    let config = check(flags(&[
        ("eviction", "s3-fifo"),
        ("trace_file", "/var/tmp/larder.trace"),
        ("max_blob_size", "1GiB"),
        ("weak_digest_functions", "SHA1,GITSHA1"),
        ("default_digest_function", "=BLAKE3,=GITSHA1,a/b=SHA256TREE"),
        ("durability", "interval"),
        ("sync_interval", "1s 500ms"),
        ("log.level", "warn,larder_disk=debug"),
        ("hot.capacity", "100MB"),
        ("fetch.enabled", "true"),
        ("fetch.allow", "github.com,*.example.com:8443"),
        ("fetch.allow_addresses", "10.1.0.0/16,::1"),
        ("fetch.ca_file", "/etc/ssl/own.pem"),
        ("tls.cert_file", "/tls/tls.crt"),
        ("tls.key_file", "/tls/tls.key"),
        ("tls.client_ca_file", "/tls/ca.crt"),
        ("tls.client_auth", "optional"),
        ("tls.admin", "true"),
        ("auth.credentials_file", "/auth/credentials"),
        ("auth.anonymous", "read"),
        ("auth.certificates", "write"),
        ("auth.header", "x-api-key"),
        ("access_log.to", "stderr"),
        ("traces.endpoint", "https://127.0.0.1:4318/v1/traces"),
        ("traces.ca_file", "/etc/ssl/own.pem"),
        ("traces.protocol", "http"),
    ]))
    .unwrap();
    let shown = config.settings();
    let keys: Vec<_> = shown.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, SETTINGS.iter().map(|setting| setting.key).collect::<Vec<_>>());
    let mut sources = Sources::default();
    sources.add_file(file(&settings_toml(&shown)).path());
    assert_eq!(check(sources).unwrap(), config);
}

#[test]
fn the_example_file_is_the_table_and_the_defaults() {
    let expect = example_toml();
    if include_str!("../../larder.example.toml") != expect {
        let path = std::env::temp_dir().join("larder.example.toml");
        std::fs::write(&path, expect).unwrap();
        panic!("the table has changed: cp {} server/larder.example.toml", path.display());
    }
    let mut sources = Sources::default();
    sources.add_file(file(&expect).path());
    assert_eq!(check(sources).unwrap(), defaults());
}
