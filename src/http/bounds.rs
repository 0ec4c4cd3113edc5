//! Bounds on what a small body may hold, checked before anything parses it.
//!
//! A parser's work is not bounded by a body's size: a megabyte of form fields, of multipart parts or of
//! digits takes a worker seconds. So each body is read over once, in time linear in its size and without
//! memory of its own, and counted. What is counted is at least what a parser would make of it: where a
//! media type leaves room for two readings, both are counted.

use std::borrow::Cow;

use encoding_rs::Encoding;
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;

use crate::plan::BodyLimits;

pub use counter::BodyBound;

mod counter;
mod json;
mod markup;
mod rows;

/// The headers of a multipart body's part may be this long, in bytes.
const MAX_PART_HEAD: usize = 16 * 1024;

/// Counts what a body holds. `forced` is the media type that a route reads its bodies as, whatever their
/// sender says.
pub fn check(
    headers: &HeaderMap,
    forced: Option<&str>,
    body: &[u8],
    limits: &BodyLimits,
) -> Result<(), BodyBound> {
    if body.is_empty() {
        return Ok(());
    }
    let mut said = headers.get_all(CONTENT_TYPE).iter();
    let first = said.next().map(|value| String::from_utf8_lossy(value.as_bytes()));
    if said.next().is_some() && forced.is_none() {
        return Err(BodyBound::TwoTypes);
    }
    let said = forced.map(Cow::Borrowed).or(first).unwrap_or_default();
    let essence = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "multipart/form-data" => parts(&said, body, limits),
        "" | "application/x-www-form-urlencoded" => loose(&decoded(&said, body)?, limits),
        json if json.ends_with("/json") || json.ends_with("+json") => {
            json::check(&decoded(&said, body)?, limits)
        }
        xml if xml.ends_with("/xml") || xml.ends_with("+xml") => {
            markup::check(&decoded(&said, body)?, limits)
        }
        csv if csv.ends_with("/csv") => rows::check(&decoded(&said, body)?, limits),
        form if form.ends_with("/x-www-form-urlencoded") => loose(&decoded(&said, body)?, limits),
        // Nothing parses it.
        _ => Ok(()),
    }
}

/// Counts the fields of a query.
pub fn check_query(query: Option<&str>, limits: &BodyLimits) -> Result<(), BodyBound> {
    let fields = query.map_or(0, |query| count(query.as_bytes(), b'&') + 1);
    if fields > limits.max_fields { Err(BodyBound::Query(limits.max_fields)) } else { Ok(()) }
}

/// The body in the bytes of UTF-8, which need not be valid: only ASCII is looked for.
fn decoded<'a>(said: &str, body: &'a [u8]) -> Result<Cow<'a, [u8]>, BodyBound> {
    let parameters = said.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let charset = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset")).last();
    let Some((_, label)) = charset else { return Ok(Cow::Borrowed(body)) };
    let label = label.trim().trim_matches('"');
    let encoding = Encoding::for_label(label.as_bytes()).ok_or(BodyBound::Charset)?;
    if encoding.is_ascii_compatible() {
        return Ok(Cow::Borrowed(body));
    }
    match encoding.decode(body).0 {
        Cow::Borrowed(text) => Ok(Cow::Borrowed(text.as_bytes())),
        Cow::Owned(text) => Ok(Cow::Owned(text.into_bytes())),
    }
}

/// A form, or JSON that is sent as one: what is not whole JSON is read as a form.
fn loose(text: &[u8], limits: &BodyLimits) -> Result<(), BodyBound> {
    if start(text) == Some(b'{') {
        json::check(text, limits)?;
        if serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok() {
            return Ok(());
        }
    }
    if count(text, b'&') >= limits.max_fields { Err(BodyBound::Fields(limits.max_fields)) } else { Ok(()) }
}

/// The first byte that is neither white space nor a byte order mark.
fn start(text: &[u8]) -> Option<u8> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    text.trim_ascii_start().first().copied()
}

fn count(text: &[u8], wanted: u8) -> usize {
    memchr::memchr_iter(wanted, text).count()
}

fn parts(said: &str, body: &[u8], limits: &BodyLimits) -> Result<(), BodyBound> {
    // Without a boundary nothing is parsed: the parsers refuse it.
    let Ok(boundary) = multer::parse_boundary(said) else { return Ok(()) };
    let delimiter = format!("--{boundary}");
    let mut starts = memchr::memmem::find_iter(body, delimiter.as_bytes()).peekable();
    let mut seen = 0;
    while let Some(start) = starts.next() {
        seen += 1;
        // The last delimiter ends the form and begins no part.
        if seen > limits.max_parts + 1 {
            return Err(BodyBound::Parts(limits.max_parts));
        }
        let part = &body[start..starts.peek().copied().unwrap_or(body.len())];
        let head = &part[..part.len().min(MAX_PART_HEAD)];
        if part.len() > MAX_PART_HEAD && memchr::memmem::find(head, b"\r\n\r\n").is_none() {
            return Err(BodyBound::PartHead(MAX_PART_HEAD));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
