//! The `token` command: makes a token, and the hash to keep of one.

use std::io::{self, Read as _, Write as _};

use super::CommandError;
use crate::access::{Token, TokenError};
use crate::cli::TokenArgs;
use crate::private_file::{PrivateFileError, write_private_new};

/// Makes a token, or hashes one from standard input or from a file.
pub fn token(arguments: &TokenArgs) -> Result<(), CommandError> {
    let refused = |source: TokenError| CommandError::Token { place: "", source };
    match arguments {
        TokenArgs::New { file } => {
            let token = Token::new().map_err(refused)?;
            match file {
                Some(path) => {
                    let line = zeroize::Zeroizing::new(format!("{}\n", token.expose()));
                    write_private_new(path, line.as_bytes())
                        .map_err(|error: PrivateFileError| refused(error.into()))?;
                    say(&format!("file = \"{}\"\nhash = \"{}\"\n", path.display(), token.hash()));
                }
                None => say(&format!("token  {}\nhash   {}\n", token.expose(), token.hash())),
            }
        }
        TokenArgs::Hash { file: Some(path) } => {
            // Somebody may have given the token itself: it is not printed.
            if !path.exists() {
                return Err(CommandError::NoTokenFile);
            }
            say(&format!("{}\n", Token::load(path).map_err(refused)?.hash()));
        }
        TokenArgs::Hash { file: None } => {
            let mut text = zeroize::Zeroizing::new(String::new());
            io::stdin().take(4096).read_to_string(&mut text).map_err(CommandError::Input)?;
            say(&format!("{}\n", Token::from_text(&text).map_err(refused)?.hash()));
        }
    }
    Ok(())
}

fn say(text: &str) {
    // The reader may have gone.
    let _ = io::stdout().write_all(text.as_bytes());
}
