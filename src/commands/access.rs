//! Who may call, from what a plan or the command line names: token files are read here.

use std::path::{Path, PathBuf};

use super::CommandError;
use crate::access::{
    AccessPolicy, CallLimits, Caller, CertificateRule, Guard, Hash, Holder, PeerRule, Token, TokenError,
};
use crate::cli::AccessArgs;
use crate::config;
use crate::environment;
use crate::local;
use crate::plan;
use crate::plan::callers::{Callers, KeptToken, NamedToken};
use crate::platform;
use crate::private_file::create_private_dir;

/// A rule who may call, and where its tokens are.
pub struct KeptPolicy {
    /// The rule.
    pub access: AccessPolicy,
    /// The file of the one token that may do everything, where it is in a file.
    pub token: Option<PathBuf>,
    /// Every file that was read for it.
    pub files: Vec<PathBuf>,
}

/// Who may call, as the plan says it.
pub fn of_plan(rule: &plan::Access, callers: &Callers, own: &[String]) -> Result<KeptPolicy, CommandError> {
    let mut kept = KeptPolicy { access: AccessPolicy::closed(), token: None, files: Vec::new() };
    match rule {
        plan::Access::Open => kept.access = AccessPolicy::open(),
        plan::Access::Named => {}
        plan::Access::TokenFile(path) => kept.owner(Hash::load(path).map_err(refused)?, Some(path)),
        plan::Access::TokenEnv(name) => {
            let text = environment::take(name).map_err(|_| CommandError::NoToken(name.clone()))?;
            kept.owner(Token::from_text(text.expose()).map_err(refused)?.hash(), None);
        }
        plan::Access::OwnToken => {
            let path = own_token()?;
            kept.owner(Token::load_or_create(&path).map_err(refused)?.0.hash(), Some(&path));
        }
    }
    for token in &callers.tokens {
        kept.named(token)?;
    }
    let peers = callers.peers.iter().map(|peer| PeerRule {
        uid: peer.uid,
        gid: peer.gid,
        holder: Holder::new(&peer.name, peer.allow.clone()),
    });
    let certificates = callers.certificates.iter().map(|certificate| CertificateRule {
        names: certificate.subject.iter().chain(&certificate.san).cloned().collect(),
        holder: Holder::new(&certificate.name, certificate.allow.clone()),
    });
    kept.access = kept
        .access
        .with_peers(peers.collect())
        .with_certificates(certificates.collect())
        .with_guard(Guard::new(own.iter().cloned(), &callers.hosts, &callers.origins))
        .with_limits(callers.limits);
    Ok(kept)
}

/// Who may call a script's routes: each file has a token that may do everything, or is a list of `[[tokens]]`
/// with routes. Without a file anyone may, as the script says.
pub fn of_script(
    arguments: &AccessArgs,
    files: &[PathBuf],
    own: &[String],
) -> Result<KeptPolicy, CommandError> {
    let open = if files.is_empty() { AccessPolicy::open() } else { AccessPolicy::closed() };
    let mut kept = KeptPolicy { access: open, token: None, files: Vec::new() };
    let place = |source| CommandError::Token { place: "--token-file: ", source };
    for path in files {
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
            kept.files.push(path.clone());
            for token in config::load_tokens(path)? {
                if let Some(rule) = token.allow.iter().find(|rule| !rule.is_of_route()) {
                    return Err(CommandError::NotARoute {
                        token: token.name.clone(),
                        rule: rule.to_string(),
                    });
                }
                kept.named(&token)?;
            }
        } else {
            kept.owner(Hash::load(path).map_err(place)?, Some(path));
        }
    }
    kept.access = kept
        .access
        .with_guard(Guard::new(own.iter().cloned(), &arguments.allow_host, &arguments.allow_origin))
        .with_limits(limits(arguments));
    Ok(kept)
}

/// Who may see how a script is: whoever holds the token in the file, or the one that `serve` makes for itself.
pub fn of_admin(file: Option<&Path>, own: &[String]) -> Result<KeptPolicy, CommandError> {
    let rule = file.map_or(plan::Access::OwnToken, |file| plan::Access::TokenFile(file.to_owned()));
    of_plan(&rule, &Callers::default(), own)
}

/// What the command line says goes before or beside what the plan says.
pub fn add(callers: &mut Callers, arguments: &AccessArgs) {
    callers.hosts.extend(arguments.allow_host.iter().cloned());
    callers.origins.extend(arguments.allow_origin.iter().cloned());
    let said = limits(arguments);
    let limits = &mut callers.limits;
    for (limit, said) in [
        (&mut limits.rate_per_caller, said.rate_per_caller),
        (&mut limits.rate_per_address, said.rate_per_address),
        (&mut limits.concurrent_per_caller, said.concurrent_per_caller),
        (&mut limits.concurrent_per_address, said.concurrent_per_address),
    ] {
        if said > 0 {
            *limit = said;
        }
    }
}

/// What is refused at the door, for the start to say.
pub fn refused_at_the_door(own: &[String], hosts: &[String], origins: &[String]) -> String {
    let names = own.iter().chain(hosts).fold("localhost".to_owned(), |all, name| all + ", " + name);
    let origins = match origins {
        [] => "web pages of other origins".to_owned(),
        listed => format!("web pages of other origins than {}", listed.join(", ")),
    };
    format!(
        "refused: {origins}; calls by other names than {names} and addresses (--allow-origin, --allow-host)"
    )
}

/// This machine's names.
pub fn own_names() -> Vec<String> {
    platform::own_names()
}

fn limits(arguments: &AccessArgs) -> CallLimits {
    CallLimits {
        rate_per_caller: arguments.rate_per_caller.unwrap_or(0),
        rate_per_address: arguments.rate_per_address.unwrap_or(0),
        concurrent_per_caller: arguments.concurrent_per_caller.unwrap_or(0),
        concurrent_per_address: arguments.concurrent_per_address.unwrap_or(0),
    }
}

fn refused(source: TokenError) -> CommandError {
    CommandError::Token { place: "", source }
}

fn own_token() -> Result<PathBuf, CommandError> {
    let folder = local::default_folder().ok_or(CommandError::NoHome)?;
    create_private_dir(&folder)?;
    Ok(folder.join("token"))
}

impl KeptPolicy {
    fn owner(&mut self, hash: Hash, file: Option<&Path>) {
        self.access = std::mem::take(&mut self.access).with_token(hash, Caller::owner());
        self.files.extend(file.map(Path::to_owned));
        self.token = self.token.take().or_else(|| file.map(Path::to_owned));
    }

    fn named(&mut self, token: &NamedToken) -> Result<(), CommandError> {
        let hash = match &token.kept {
            KeptToken::Hash(hash) => *hash,
            KeptToken::File(path) => {
                self.files.push(path.clone());
                Hash::load(path).map_err(refused)?
            }
        };
        let caller = Caller::Token(Holder::new(&token.name, token.allow.clone()));
        self.access = std::mem::take(&mut self.access).with_token(hash, caller);
        Ok(())
    }
}
