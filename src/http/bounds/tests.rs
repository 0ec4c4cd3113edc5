use std::time::Duration;

use hyper::header::HeaderValue;
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;

fn limits() -> BodyLimits {
    BodyLimits::default()
}

fn seen(media: &str, body: &[u8]) -> Result<(), BodyBound> {
    let mut headers = HeaderMap::new();
    if !media.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(media).unwrap());
    }
    check(&headers, None, body, &limits())
}

const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=b";

fn form(fields: usize) -> Vec<u8> {
    vec!["a=1"; fields].join("&").into_bytes()
}

fn multipart(parts: usize) -> Vec<u8> {
    let part = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n";
    (part.repeat(parts) + "--b--\r\n").into_bytes()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn each_bound_is_exact() {
    let limits = limits();
    let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat().into_bytes();
    let elements = |depth: usize| ["<a>".repeat(depth), "</a>".repeat(depth)].concat().into_bytes();
    let digits = |count: usize| format!("{{\"a\":{}}}", "7".repeat(count)).into_bytes();
    let list = |count: usize| format!("[{}]", vec!["1"; count - 1].join(",")).into_bytes();
    let rows = |count: usize| "a,b\r\n".repeat(count).into_bytes();
    type Make<'a> = (&'a str, &'a dyn Fn(usize) -> Vec<u8>, usize, BodyBound);
    let all: [Make<'_>; 8] = [
        (FORM, &form, limits.max_fields, BodyBound::Fields(limits.max_fields)),
        ("", &form, limits.max_fields, BodyBound::Fields(limits.max_fields)),
        (MULTIPART, &multipart, limits.max_parts, BodyBound::Parts(limits.max_parts)),
        ("application/json", &nested, limits.max_depth, BodyBound::Depth(limits.max_depth)),
        ("application/xml", &elements, limits.max_depth, BodyBound::Depth(limits.max_depth)),
        ("application/json", &digits, limits.max_digits, BodyBound::Digits(limits.max_digits)),
        ("application/json", &list, limits.max_values, BodyBound::Values(limits.max_values)),
        ("text/csv", &rows, limits.max_rows, BodyBound::Rows(limits.max_rows)),
    ];
    for (media, make, most, bound) in all {
        assert_eq!(seen(media, &make(most)), Ok(()), "{media} {bound}");
        assert_eq!(seen(media, &make(most + 1)), Err(bound), "{media}");
    }
}

#[test]
fn the_attacks_that_took_workers_are_refused_by_name() {
    let part = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n";
    let attacks = [
        (FORM, "a&".repeat(200_000), "too_many_fields", true),
        (MULTIPART, part.repeat(50_000), "too_many_parts", true),
        (MULTIPART, format!("--b\r\nX: {}", "x".repeat(99_999)), "part_head_too_long", true),
        ("text/csv", "a\n".repeat(400_000), "too_many_rows", true),
        ("text/csv", "a,".repeat(400_000), "too_many_fields", true),
        ("application/json", format!("[{}]", "9".repeat(1_000_000)), "too_many_digits", false),
        (FORM, format!("{{\"a\":{}}}", "9".repeat(1_000_000)), "too_many_digits", false),
        ("application/json", "[".repeat(100_000), "too_deep", false),
        ("application/json", format!("[{}1]", "1,".repeat(400_000)), "too_many_values", true),
        ("application/json", format!("{{{}}}", "\"a\":1,\"A\":2,".repeat(60_000)), "too_many_values", true),
        ("application/json", format!("/*\"*/{}", "[".repeat(100_000)), "too_deep", false),
        ("text/xml", "<a>".repeat(100_000), "too_deep", false),
        ("text/xml", format!("<a>{}</a>", "<b/>".repeat(100_000)), "too_many_values", true),
        ("text/xml", format!("<a{}/>", " b='1'".repeat(100_000)), "too_many_values", true),
    ];
    for (media, body, code, is_size) in attacks {
        let bound = seen(media, body.as_bytes()).expect_err(code);
        assert_eq!((bound.code(), bound.is_size()), (code, is_size), "{media}");
    }
}

#[test]
fn an_encoding_hides_nothing() {
    for media in ["text/csv; charset=utf-16", "text/csv;charset=\"UTF-16LE\""] {
        assert!(matches!(seen(media, &utf16(&"a\n".repeat(100_000))), Err(BodyBound::Rows(_))), "{media}");
    }
    // In this one `&` is another byte, and .NET knows it.
    assert_eq!(seen("application/x-www-form-urlencoded; charset=ibm037", b"x"), Err(BodyBound::Charset));
    assert_eq!(seen("application/json; charset=utf-8", b"[1]"), Ok(()));
}

#[test]
fn what_honest_clients_send_passes() {
    let long = "x".repeat(1 << 20);
    let key = format!("-----BEGIN KEY-----\n{}\n", "ab+/&,=".repeat(9000));
    let honest = [
        (FORM, format!("Value={long}")),
        // curl sends it as a form, but it is JSON: what its strings hold is not counted.
        (FORM, format!("{{\"Value\":\"{}\"}}", "&".repeat(5000))),
        ("application/json", format!("{{\"Value\":{}}}", serde_json::to_string(&key).unwrap())),
        ("application/json", format!("{{\"Value\":\"{}\"}}", "[{9".repeat(5000))),
        ("application/json", "{\"a\":1.7976931348623157e+308,}".to_owned()),
        ("application/xml", format!("<?xml version='1.0'?><a b='>'><![CDATA[{}]]></a>", "<".repeat(99_999))),
        ("text/csv", "\"a, b\",c\r\n1,2\r\n".repeat(1000)),
        ("text/plain", "&\n".repeat(400_000)),
        (MULTIPART, format!("--b\r\nContent-Disposition: form-data; name=a\r\n\r\n{long}\r\n--b--\r\n")),
    ];
    for (media, body) in honest {
        assert_eq!(seen(media, body.as_bytes()), Ok(()), "{media} {:.40}", body);
    }
}

#[test]
fn what_a_route_reads_bodies_as_decides() {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    let body = "a\n".repeat(400_000);
    assert!(check(&headers, Some("text/csv"), body.as_bytes(), &limits()).is_err());
    headers.append(CONTENT_TYPE, HeaderValue::from_static("text/csv"));
    assert_eq!(check(&headers, None, body.as_bytes(), &limits()), Err(BodyBound::TwoTypes));
}

#[test]
fn a_query_has_fields_too() {
    assert_eq!(check_query(None, &limits()), Ok(()));
    assert_eq!(check_query(Some(&"&".repeat(20_000)), &limits()), Err(BodyBound::Query(limits().max_fields)));
}

/// The time that this thread has had a core, where the system tells; else the time.
fn worked() -> Duration {
    static BEGUN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    crate::platform::testing::time_on_a_core().unwrap_or_else(|| BEGUN.elapsed())
}

/// How long so many checks take.
fn time_of(media: &str, body: &[u8], limits: &BodyLimits, times: u32) -> Duration {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(media).unwrap());
    let begun = worked();
    for _ in 0..times {
        let _ = check(&headers, None, body, limits);
    }
    worked() - begun
}

/// Limits that stop nothing.
fn none() -> BodyLimits {
    BodyLimits {
        max_fields: usize::MAX,
        max_parts: usize::MAX - 1,
        max_depth: usize::MAX,
        max_digits: usize::MAX,
        max_rows: usize::MAX,
        max_values: usize::MAX,
    }
}

/// Whether the large body, four times the small one, takes about four times as long. A quadratic step would take
/// sixteen times as long.
fn is_linear(media: &str, small: &[u8], large: &[u8]) -> bool {
    // Often enough that the clock, which may tick a hundred times a second, shows something.
    let often = |times: &u32| time_of(media, large, &none(), *times) >= Duration::from_millis(60);
    let times = (0..12).map(|power| 1 << power).find(often).unwrap_or(1 << 12);
    // The same bytes in all. What else happens on the machine may spoil one of the measurements, not each.
    (0..4).any(|_| {
        let small = time_of(media, small, &none(), 4 * times);
        time_of(media, large, &none(), times) < small * 5 / 2 + Duration::from_millis(30)
    })
}

#[test]
fn the_time_of_every_kind_that_is_counted_is_bounded_by_the_size() {
    let part = "--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"f\"\r\nContent-Type: text/plain\r\n\r\nv\r\n";
    let kinds: [(&str, &str, &str, &str, &str); 13] = [
        ("fields of a form", FORM, "", "a=b&", "a=b"),
        ("escapes of a form", FORM, "a=", "%41", ""),
        ("parts of a multipart form", MULTIPART, "", part, "--b--\r\n"),
        ("almost boundaries", MULTIPART, "--b\r\n\r\n", "\r\n--", "\r\n--b--\r\n"),
        ("rows of CSV", "text/csv", "a,b\n", "1,2\n", ""),
        ("quotes of CSV", "text/csv", "a\n\"", "\"\"", "\""),
        ("digits", "application/json", "", "1", ""),
        ("digits after the point", "application/json", "1.", "0", "e1"),
        ("objects in objects", "application/json", "", "{\"a\":", "1"),
        ("lists in lists", "application/json", "", "[", ""),
        ("elements in elements", "text/xml", "", "<a>", ""),
        ("attributes", "text/xml", "<a ", "b=\"c\" ", "/>"),
        ("entities", "text/xml", "<a>", "&amp;", "</a>"),
    ];
    for (name, media, start, unit, end) in kinds {
        let body = |size: usize| [start, &unit.repeat(size / unit.len()), end].concat();
        let (small, large) = (body(64 * 1024), body(256 * 1024));
        assert!(is_linear(media, small.as_bytes(), large.as_bytes()), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever is in it, and with limits that stop nothing: four times the size takes about four times as long, and a
    /// quadratic step would take sixteen times as long.
    #[test]
    fn the_time_is_bounded_by_the_size(
        unit in "[\\[\\]{}<>/!?=&,;\"'\\\\\\-\\*0-9a\r\n]{1,12}|--b\r\n|\r\n\r\n|<!--|<!\\[|/\\*|\\]\\]",
        start in "[\\[{<\"/a-]{0,3}",
        media in prop::sample::select(vec![FORM, MULTIPART, "application/json", "text/xml", "text/csv"]),
    ) {
        let body = |size: usize| start.clone() + &unit.repeat(size / unit.len());
        let (small, large) = (body(64 * 1024), body(256 * 1024));
        prop_assert!(is_linear(media, small.as_bytes(), large.as_bytes()), "four times the size of {media} takes far longer than four times as long");
    }
}
