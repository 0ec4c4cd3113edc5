//! Certificates of the plan's listeners: whole, with their key, and in force.

use std::path::Path;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use super::Finding;
use crate::clock;
use crate::plan::{Plan, Tls};

const AREA: &str = "certificates";

const DAY: i64 = 24 * 60 * 60;

/// An end nearer than this is told.
const SOON: i64 = 30 * DAY;

/// Looks at each certificate of the plan.
pub fn certificates(plan: &Plan) -> Vec<Finding> {
    let now = clock::now().unix_timestamp();
    let mut found = Vec::new();
    for tls in plan.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
        match tls {
            Tls::SelfSigned => found.push(Finding::ok(AREA, "a certificate is made at each start")),
            Tls::Files { certificate, .. } => found.push(match crate::http::check_tls(tls) {
                Err(error) => {
                    Finding::problem(AREA, error.to_string(), "mend or replace the file that is named")
                }
                Ok(()) => in_force(certificate, now),
            }),
        }
    }
    found
}

fn in_force(path: &Path, now: i64) -> Finding {
    let read = std::fs::read(path).ok().and_then(|text| {
        let leaf = CertificateDer::pem_slice_iter(&text).next()?.ok()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).ok()?;
        let validity = parsed.validity();
        Some((parsed.subject().to_string(), validity.not_before.timestamp(), validity.not_after.timestamp()))
    });
    let Some((subject, from, until)) = read else {
        let message = format!("the certificate {} cannot be read", path.display());
        return Finding::problem(AREA, message, "replace it with one in PEM");
    };
    judge(&format!("the certificate {} ({subject})", path.display()), from, until, now)
}

fn judge(what: &str, from: i64, until: i64, now: i64) -> Finding {
    let renew = "renew it, and put the new one in its place: the server notices";
    let days = (until - now).div_euclid(DAY);
    let finding = match () {
        () if now < from => {
            Finding::problem(AREA, format!("{what} is not in force yet"), "wait, or set the clock")
        }
        () if now > until => Finding::problem(AREA, format!("{what} has expired {} days ago", -days), renew),
        () if until - now < SOON => Finding::warning(AREA, format!("{what} expires in {days} days"), renew),
        () => Finding::ok(AREA, format!("{what} is in force for {days} days")),
    };
    finding.with("days_left", days)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn an_end_that_is_past_or_near_is_told() {
        for (from, until, level) in [
            (-10, 100, Level::Ok),
            (-10, 20, Level::Warning),
            (-10, -1, Level::Problem),
            (1, 100, Level::Problem),
        ] {
            assert_eq!(judge("x", from * DAY, until * DAY, 0).level, level, "{from} {until}");
        }
    }
}
