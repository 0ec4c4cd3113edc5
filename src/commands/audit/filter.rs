//! Which lines of a trail are wanted. Pure.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::audit::TrailLine;
use crate::cli::{Moment, ShowArgs};
use crate::commands::list::is_like;

/// What lines must be like.
#[derive(Debug, Clone, Default)]
pub(super) struct TrailFilter {
    vault: Option<String>,
    key: Option<String>,
    who: Option<String>,
    action: Option<String>,
    failed: bool,
    since: Option<OffsetDateTime>,
    until: Option<OffsetDateTime>,
}

// === impl TrailFilter ===

impl TrailFilter {
    /// What the arguments say; `now` is what their times count from.
    pub(super) fn new(arguments: &ShowArgs, now: OffsetDateTime) -> TrailFilter {
        let (mut vault, mut key) = (arguments.vault.clone(), arguments.key.clone());
        if let Some(of) = &arguments.of {
            let (of_vault, of_key) = of.split_once('/').unwrap_or((of, ""));
            vault = Some(of_vault.to_owned());
            key = Some(of_key.to_owned()).filter(|key| !key.is_empty());
        }
        let at = |moment: Option<Moment>| moment.map(|moment| moment.from(now));
        TrailFilter {
            vault,
            key,
            who: arguments.who.clone(),
            action: arguments.action.clone(),
            failed: arguments.failed,
            since: at(arguments.since),
            until: at(arguments.until),
        }
    }

    /// Whether a line is wanted.
    pub(super) fn admits(&self, line: &TrailLine) -> bool {
        let like = |pattern: &Option<String>, text: &str| {
            pattern.as_deref().is_none_or(|pattern| is_like(text, pattern))
        };
        self.is_in_time(&line.time)
            && (!self.failed || is_failure(line))
            && self.action.as_deref().is_none_or(|action| line.action == action)
            && like(&self.who, &line.who)
            && self.is_of_the_secret(line)
    }

    fn is_in_time(&self, time: &str) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        // A line whose time nobody can read is not left out.
        let Ok(time) = OffsetDateTime::parse(time, &Rfc3339) else { return true };
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until)
    }

    fn is_of_the_secret(&self, line: &TrailLine) -> bool {
        if self.vault.is_none() && self.key.is_none() {
            return true;
        }
        let Some((vault, key)) = line.secret() else { return false };
        let like = |pattern: &str, name: &str| !name.is_empty() && is_like(name, pattern);
        self.vault.as_deref().is_none_or(|pattern| like(pattern, &vault))
            && self.key.as_deref().is_none_or(|pattern| like(pattern, &key) || like(pattern, &line.mount))
    }
}

/// Whether a line tells of something that did not end well.
fn is_failure(line: &TrailLine) -> bool {
    match line.event.as_str() {
        "access" | "request" | "folded" => line.outcome != "ok",
        event => event == "dropped",
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn access(vault: &str, key: &str, outcome: &str) -> TrailLine {
        TrailLine {
            time: "2026-11-30T03:00:00.000Z".to_owned(),
            event: "access".to_owned(),
            who: "backup".to_owned(),
            action: "read".to_owned(),
            vault: vault.to_owned(),
            key: key.to_owned(),
            mount: "Mounted".to_owned(),
            outcome: outcome.to_owned(),
            ..TrailLine::default()
        }
    }

    fn admits(arguments: &ShowArgs, line: &TrailLine) -> bool {
        TrailFilter::new(arguments, datetime!(2026-11-30 04:00 UTC)).admits(line)
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_secret_is_named_as_in_every_command_and_without_case() {
        let line = access("Team", "db-main", "ok");
        for of in ["team", "TEAM/DB-MAIN", "team/db-*", "t?am/*", "team/mounted"] {
            assert!(admits(&ShowArgs { of: some(of), ..ShowArgs::default() }, &line), "{of}");
        }
        for of in ["tea", "team/db", "other/db-main"] {
            assert!(!admits(&ShowArgs { of: some(of), ..ShowArgs::default() }, &line), "{of}");
        }
        let both = ShowArgs { vault: some("team"), key: some("db-*"), ..ShowArgs::default() };
        assert!(admits(&both, &line) && !admits(&both, &access("team", "web", "ok")));
        let start = TrailLine { event: "start".to_owned(), ..access("", "", "") };
        assert!(admits(&ShowArgs::default(), &start));
        assert!(
            !admits(&ShowArgs { vault: some("*"), ..ShowArgs::default() }, &start),
            "it is about no vault"
        );
    }

    #[test]
    fn who_was_refused_a_secret_is_found_by_its_name_too() {
        let refused = TrailLine {
            event: "request".to_owned(),
            path: "/vaults/team/secrets/db".to_owned(),
            outcome: "token_wrong".to_owned(),
            status: 401,
            ..TrailLine::default()
        };
        let wanted = ShowArgs { of: some("team/db"), failed: true, ..ShowArgs::default() };
        assert!(admits(&wanted, &refused));
        assert!(!admits(&wanted, &access("team", "db", "ok")));
        assert!(admits(&wanted, &access("team", "db", "secret_not_found")));
    }

    #[test]
    fn times_are_bounds_that_belong_to_what_is_wanted() {
        let line = access("team", "db", "ok");
        let since = |moment| ShowArgs { since: Some(moment), ..ShowArgs::default() };
        let until = |moment| ShowArgs { until: Some(moment), ..ShowArgs::default() };
        let hours = |count: u64| Moment::Ago(std::time::Duration::from_secs(count * 3600));
        assert!(admits(&since(hours(1)), &line) && admits(&until(hours(1)), &line));
        assert!(admits(&since(hours(2)), &line) && !admits(&until(hours(2)), &line));
        assert!(!admits(&since(Moment::Ago(std::time::Duration::ZERO)), &line));
    }
}
