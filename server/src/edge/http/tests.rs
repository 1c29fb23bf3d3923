//! Which keyspace a URL reaches, whoever wrote it how.

use larder_protos::InstanceName;

use super::dialect::{Dialect, Place};
use super::path::CachePath;
use super::url_path::UrlPath;
use super::{gradle, key_value, nx, turborepo, webdav};
use crate::edge::functions::Functions;
use crate::edge::instance_keyspaces;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The keyspace and, for errors, the hash of what a URL names; of a blob or an action result, the instance.
fn reached(url: &str) -> Option<(String, String)> {
    let url = url.replace("HEX", HEX).replace("KEY", KEY);
    let (path, query) = url.split_once('?').unwrap_or((&url, ""));
    let path = UrlPath::parse(path).ok()?;
    let place = Place::of(path.as_str())?;
    if path.is_folder() {
        return None;
    }
    let name = match place.dialect {
        Dialect::Cache => {
            let path = CachePath::parse(&place, &Functions::default()).ok()?;
            return Some((format!("cache {}", path.instance), path.hash.to_string()));
        }
        Dialect::KeyValue => key_value::name(&place).ok()?,
        Dialect::Gradle => gradle::name(&place).ok()?,
        Dialect::Turborepo => match place.rest {
            "" | "status" | "events" => return None,
            _ => turborepo::name(&place, Some(query)).ok()?,
        },
        Dialect::Nx => nx::name(&place).ok()?,
        Dialect::Sccache => webdav::name(&place).ok()?,
    };
    Some((name.key().keyspace.as_str().to_owned(), name.key().action.to_string()))
}

fn check(url: &str, expect: Option<&str>) {
    let keyspace = reached(url).map(|(keyspace, _)| keyspace);
    if let Some(keyspace) = keyspace.as_deref().filter(|keyspace| keyspace.starts_with("uploads/"))
    {
        let instance = keyspace.splitn(3, '/').nth(2).unwrap_or_default();
        let of_instance = instance_keyspaces(&InstanceName::parse(instance).unwrap());
        assert!(of_instance.iter().any(|known| known.as_str() == keyspace), "{keyspace}");
    }
    assert_eq!(keyspace.as_deref(), expect, "{url}");
}

#[test]
fn each_dialect_and_instance_has_a_keyspace_of_its_own() {
    check("/cas/HEX", Some("cache "));
    check("/a/b/ac/HEX", Some("cache a/b"));
    check("/kv/x", Some("uploads/kv"));
    check("/a/b/kv/x", Some("uploads/kv/a/b"));
    check("/gradle/KEY", Some("uploads/gradle"));
    check("/a/gradle/KEY", Some("uploads/gradle/a"));
    check("/v8/artifacts/KEY", Some("uploads/turborepo"));
    check("/a/v8/artifacts/KEY?slug=x", Some("uploads/turborepo/a"));
    check("/v1/cache/KEY", Some("uploads/nx"));
    check("/a/v1/cache/123", Some("uploads/nx/a"));
    check("/sccache/a/b", Some("uploads/sccache"));
    check("/a/sccache/b", Some("uploads/sccache/a"));
}

#[test]
fn tricks_stay_where_they_are() {
    // Dots, empty segments and control characters, encoded or not, name nothing.
    for trick in ["..", ".", "%2e%2e", ".%2E", "", "a%00", "%00", "%0a", "a%7F", "%FF", "%C0%AF"] {
        check(&format!("/kv/{trick}/gradle/KEY"), None);
        check(&format!("/sccache/a/{trick}/b"), None);
        check(&format!("/gradle/{trick}/KEY"), None);
        check(&format!("/{trick}/v1/cache/123"), None);
        check(&format!("/v8/artifacts/{trick}"), None);
        check(&format!("/a/{trick}/cas/HEX"), None);
    }
    // Open spaces keep what looks like another dialect.
    check("/kv/cas/HEX", Some("uploads/kv"));
    check("/kv/v1/cache/123", Some("uploads/kv"));
    check("/kv/sccache/a", Some("uploads/kv"));
    check("/sccache/kv/a", Some("uploads/sccache"));
    check("/sccache/gradle/KEY", Some("uploads/sccache"));
    check("/a/sccache/b/ac/HEX", Some("uploads/sccache/a"));
    // Decoded once: a word is a word however it is written, and what is encoded twice is none.
    check("/%6bv/cas/HEX", Some("uploads/kv"));
    check("/kv%2Fcas%2FHEX", Some("uploads/kv"));
    check("/%67radle/KEY", Some("uploads/gradle"));
    check("/%2567radle/KEY", None);
    check("/kv/%252e%252e/gradle/KEY", Some("uploads/kv"));
    check("/gradle%2FKEY", Some("uploads/gradle"));
    // Nor can an instance name lead elsewhere.
    check("/uploads/kv/x", None);
    check("/uploads/gradle/KEY", None);
    check("/uploads/gradle/ac/HEX", None);
    check("/blobs/v1/cache/123", None);
    check(&format!("/{}/v1/cache/123", "a".repeat(256)), None);
    check(&format!("/{}/kv/x", "a".repeat(255)), Some(&format!("uploads/kv/{}", "a".repeat(255))));
    // Keys are as their dialect has them.
    check("/gradle/KEY0", None);
    check("/gradle/0123456789ABCDEF0123456789abcdef", None);
    check("/v1/cache/a.b", None);
    check("/v1/cache/%2e%2e", None);
    check(&format!("/v1/cache/{}", "1".repeat(129)), None);
    check("/v8/artifacts/events", None);
    check(&format!("/v8/artifacts/{}", "a".repeat(129)), None);
    check("/v8/artifacts/a?slug=x%00", None);
    check("/v8/artifacts/a?slug=x&slug=y", None);
    check(&format!("/kv/{}", "a".repeat(1_024)), Some("uploads/kv"));
    check(&format!("/kv/{}", "a".repeat(1_025)), None);
    check(&format!("/sccache/{}", "a".repeat(1_025)), None);
    for nothing in ["/", "/kv", "/kv/", "/kv/a/", "/gradle/", "/v1/cache", "/v8/artifacts", "/x"] {
        check(nothing, None);
    }
}

#[test]
fn one_key_is_many_entries() {
    let urls = [
        "/kv/KEY",
        "/kv/gradle/KEY",
        "/kv/a/KEY",
        "/a/kv/KEY",
        "/gradle/KEY",
        "/a/gradle/KEY",
        "/v1/cache/KEY",
        "/a/v1/cache/KEY",
        "/v8/artifacts/KEY",
        "/a/v8/artifacts/KEY",
        "/v8/artifacts/KEY?teamId=a",
        "/v8/artifacts/KEY?slug=a",
        "/v8/artifacts/KEY?slug=id+a",
        "/sccache/KEY",
        "/sccache/a/KEY",
        "/a/sccache/KEY",
    ];
    let entries: std::collections::BTreeSet<_> = urls.map(reached).into_iter().flatten().collect();
    assert_eq!(entries.len(), urls.len(), "{entries:#?}");
}
