//! Secrets that come in environment variables. They are taken out when they are first asked for: what the
//! system shows of this program's environment has them no more, nor does the environment of a worker.

use std::collections::BTreeMap;
use std::env::{self, VarError};
use std::sync::{Mutex, PoisonError};

use crate::platform;
use crate::secret::Text;

static TAKEN: Mutex<BTreeMap<String, Text>> = Mutex::new(BTreeMap::new());

/// The secret in a variable, which it takes out of the environment. Asked again, it gives the same.
pub fn take(name: &str) -> Result<Text, VarError> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(text) = taken.get(name) {
        return Ok(text.clone());
    }
    let text = Text::new(env::var(name)?);
    platform::forget_variable(name);
    taken.insert(name.to_owned(), text.clone());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_not_set_is_an_error() {
        assert_eq!(take("SECRETBRIDGE_TEST_NEVER_SET").unwrap_err(), VarError::NotPresent);
    }
}
