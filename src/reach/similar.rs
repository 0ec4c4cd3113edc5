//! Which of some names was perhaps meant. Pure.

use crate::secret::fold;

/// From this likeness on a name is worth telling; 1 is the same.
const LIKE: f64 = 0.8;

/// The name that is most like a wanted one, if one is.
pub(super) fn most_similar<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = fold(wanted);
    let liked = names.map(|name| (strsim::jaro_winkler(&wanted, &fold(name)), name));
    let best = liked.filter(|(like, _)| *like >= LIKE).max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_is_known_and_another_word_is_not() {
        let names = ["db-password", "api-token", "Login"];
        let similar = |wanted| most_similar(wanted, names.into_iter());
        for (wanted, meant) in [
            ("db-pasword", "db-password"),
            ("DB_PASSWORD", "db-password"),
            ("apitoken", "api-token"),
            ("logn", "Login"),
        ] {
            assert_eq!(similar(wanted), Some(meant), "{wanted}");
        }
        for wanted in ["certificate", "x", ""] {
            assert_eq!(similar(wanted), None, "{wanted}");
        }
    }
}
