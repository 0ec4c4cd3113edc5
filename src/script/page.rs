//! Error pages: HTML as Pode's, JSON or XML.
//!
//! Everything that came from outside is escaped; what an exception said is shown only where the script
//! asked for it.

use hyper::http::StatusCode;
use serde::Deserialize;

use super::pattern::{Pattern, Subject};
use super::protocol::call::Exception;

/// The form of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Pode's default.
    Html,
    /// An object with `Url`, `Status` and `Exception`.
    Json,
    /// The same as elements. Only where the script asks for it.
    Xml,
}

/// What stands on a page.
#[derive(Debug)]
pub struct Page<'a> {
    /// The status.
    pub status: StatusCode,
    /// In place of the status's own phrase.
    pub description: Option<&'a str>,
    /// What was asked for: protocol, host and decoded path, without the query.
    pub url: &'a str,
    /// Only where exceptions are shown.
    pub exception: Option<&'a Exception>,
}

/// `Web.ErrorPages` of `server.psd1`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PageSettings {
    /// Show what exceptions say.
    pub show_exceptions: bool,
    /// Answer in the request's own content type.
    pub strict: bool,
    /// The type where nothing else decides.
    pub default: Option<String>,
    /// Types by path pattern, in order.
    pub routes: Vec<(String, String)>,
}

/// What decides about a page's form, beside the settings.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes<'a> {
    /// `Set-PodeResponseStatus -ContentType`.
    pub explicit: Option<&'a str>,
    /// The route's `-ErrorContentType`.
    pub route: Option<&'a str>,
    /// The request's path, decoded.
    pub path: &'a str,
    /// The request's content type.
    pub content_type: Option<&'a str>,
    /// The request's `Accept`.
    pub accept: Option<&'a str>,
}

impl Form {
    /// The form of a page. First come the block's own word, the route's and the settings', as in Pode; then
    /// what the client accepts; HTML where it says nothing.
    pub fn choose(settings: &PageSettings, wishes: Wishes<'_>) -> Form {
        let of_path = || {
            let path = Subject::new(wishes.path);
            let fits = |pattern: &str| Pattern::new(&super::route::normal(pattern)).matches(&path).is_some();
            settings.routes.iter().find(|(pattern, _)| fits(pattern)).map(|(_, form)| form.as_str())
        };
        let strict = || wishes.content_type.filter(|_| settings.strict);
        let said =
            wishes.explicit.or(wishes.route).or_else(of_path).or_else(strict).or(settings.default.as_deref());
        match said.filter(|said| !said.trim().is_empty()) {
            Some(said) if is_json(said) => Form::Json,
            Some(said) if is_xml(said) => Form::Xml,
            Some(_) => Form::Html,
            None if wishes.accept.is_some_and(prefers_json) => Form::Json,
            None => Form::Html,
        }
    }

    /// The header's value.
    pub fn content_type(self) -> &'static str {
        match self {
            Form::Html => "text/html; charset=utf-8",
            Form::Json => "application/json; charset=utf-8",
            Form::Xml => "application/xml; charset=utf-8",
        }
    }
}

fn media(text: &str) -> String {
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json(text: &str) -> bool {
    let media = media(text);
    media.ends_with("/json") || media.ends_with("+json")
}

fn is_xml(text: &str) -> bool {
    media(text).ends_with("/xml")
}

/// Whether JSON is named, and not less liked than HTML.
fn prefers_json(accept: &str) -> bool {
    let weight = |range: &str| {
        let mut parameters = range.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
        let named = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
        named.map_or(1.0, |(_, value)| value.trim().parse::<f32>().unwrap_or(0.0))
    };
    let best = |wanted: &dyn Fn(&str) -> bool| {
        accept.split(',').filter(|range| wanted(&media(range))).map(weight).fold(0.0, f32::max)
    };
    let json = best(&|media| is_json(media));
    let html = best(&|media| media == "text/html" || media == "application/xhtml+xml");
    json > 0.0 && json >= html
}

impl Page<'_> {
    /// The page's text.
    pub fn render(&self, form: Form) -> String {
        match form {
            Form::Html => self.html(),
            Form::Json => self.json(),
            Form::Xml => self.xml(),
        }
    }

    fn description(&self) -> &str {
        let own = self.description.filter(|description| !description.trim().is_empty());
        own.or(self.status.canonical_reason()).unwrap_or("Unknown")
    }

    fn json(&self) -> String {
        let status = serde_json::json!({ "Code": self.status.as_u16(), "Description": self.description() });
        serde_json::json!({ "Url": self.url, "Status": status, "Exception": self.exception }).to_string()
    }

    fn xml(&self) -> String {
        let (code, description, url) =
            (self.status.as_u16(), xml_text(self.description()), xml_text(self.url));
        let exception = self.exception.map(|Exception { message, stack_trace, line, category }| {
            [("Message", message), ("StackTrace", stack_trace), ("Line", line), ("Category", category)]
                .map(|(name, text)| format!("<{name}>{}</{name}>", xml_text(text)))
                .concat()
        });
        format!(
            "<Error><Status><Code>{code}</Code><Description>{description}</Description></Status>\
             <Url>{url}</Url><Exception>{}</Exception></Error>",
            exception.unwrap_or_default()
        )
    }

    fn html(&self) -> String {
        let (code, description, url) = (self.status.as_u16(), escaped(self.description()), escaped(self.url));
        let exception = self.exception.map(exception_html).unwrap_or_default();
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{code} {description}</title>\n\
             <style>body{{font-family:sans-serif;margin:2em;color:#333}}h1{{font-weight:normal}}\
             pre{{background:#f4f4f4;padding:1em;overflow:auto}}</style>\n</head>\n<body>\n\
             <h1>{code} {description}</h1>\n<p>{url}</p>\n{exception}</body>\n</html>\n"
        )
    }
}

fn exception_html(exception: &Exception) -> String {
    let Exception { message, stack_trace, line, category } = exception;
    let row = |name: &str, text: &str| format!("<h2>{name}</h2>\n<pre>{}</pre>\n", escaped(text));
    [("Message", message), ("Category", category), ("Line", line), ("StackTrace", stack_trace)]
        .map(|(name, text)| row(name, text))
        .concat()
}

/// Text for XML, which cannot hold most control characters at all.
fn xml_text(text: &str) -> String {
    escaped(text).replace(
        |c: char| (c.is_control() && !matches!(c, '\t' | '\n' | '\r')) || c == '\u{fffe}' || c == '\u{ffff}',
        "\u{fffd}",
    )
}

/// Text for HTML, in elements and attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(settings: &PageSettings, wishes: Wishes<'_>) -> Form {
        Form::choose(settings, wishes)
    }

    #[test]
    fn the_form_is_chosen_in_podes_order_and_then_by_what_the_client_accepts() {
        let none = PageSettings::default();
        let json = Some("application/json");
        let html = Some("text/html");
        let wishes = Wishes { path: "/api/x", ..Wishes::default() };
        assert_eq!(form(&none, wishes), Form::Html);
        assert_eq!(form(&none, Wishes { accept: json, ..wishes }), Form::Json);
        assert_eq!(form(&none, Wishes { accept: json, route: html, ..wishes }), Form::Html);
        assert_eq!(form(&none, Wishes { route: html, explicit: json, ..wishes }), Form::Json);
        assert_eq!(
            form(&none, Wishes { route: Some("application/xml; charset=utf-8"), ..wishes }),
            Form::Xml
        );
        assert_eq!(form(&none, Wishes { accept: Some("application/xml"), ..wishes }), Form::Html);
        let by_path = PageSettings {
            routes: vec![("/api/*".into(), "application/json".into())],
            default: Some("text/html".into()),
            strict: true,
            ..none.clone()
        };
        assert_eq!(form(&by_path, wishes), Form::Json);
        assert_eq!(form(&by_path, Wishes { path: "/web", accept: json, ..wishes }), Form::Html);
        assert_eq!(form(&by_path, Wishes { path: "/web", content_type: json, ..wishes }), Form::Json);
        assert_eq!(
            form(&none, Wishes { content_type: json, ..wishes }),
            Form::Html,
            "only if typing is strict"
        );
    }

    #[test]
    fn accept_is_read_with_its_weights() {
        for (accept, json) in [
            ("application/json", true),
            ("*/*", false),
            ("", false),
            ("text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8", false),
            ("text/html;q=0.1, application/json", true),
            ("application/json;q=0", false),
            ("application/problem+json", true),
        ] {
            assert_eq!(prefers_json(accept), json, "{accept}");
        }
    }

    #[test]
    fn what_came_from_outside_is_escaped() {
        let exception = Exception { message: "<b>'\"&".into(), ..Exception::default() };
        let page = Page {
            status: StatusCode::NOT_FOUND,
            description: Some("<i>"),
            url: "/<script>",
            exception: Some(&exception),
        };
        let html = page.render(Form::Html);
        for raw in ["<script>", "<i>", "<b>"] {
            assert!(!html.contains(raw), "{raw}");
        }
        assert!(html.contains("&lt;b&gt;&#39;&quot;&amp;"));
        assert_eq!(
            page.render(Form::Xml),
            "<Error><Status><Code>404</Code><Description>&lt;i&gt;</Description></Status><Url>/&lt;script&gt;</Url>\
             <Exception><Message>&lt;b&gt;&#39;&quot;&amp;</Message><StackTrace></StackTrace><Line></Line>\
             <Category></Category></Exception></Error>"
        );
        let json: serde_json::Value = serde_json::from_str(&page.render(Form::Json)).unwrap();
        assert_eq!(json["Url"], "/<script>");
        assert_eq!(json["Status"], serde_json::json!({ "Code": 404, "Description": "<i>" }));
        assert_eq!(json["Exception"]["Message"], "<b>'\"&");
        let bare = Page { exception: None, description: None, ..page }.render(Form::Json);
        let bare: serde_json::Value = serde_json::from_str(&bare).unwrap();
        assert_eq!(
            (&bare["Status"]["Description"], &bare["Exception"]),
            (&"Not Found".into(), &serde_json::Value::Null)
        );
    }
}
