//! What must hold between the parts of a plan that is served as a whole: of a file, a builder, the command line or the
//! user's registry. A script adds one vault after the other, by Pode's rules: a friendly name is taken once, and of two
//! vaults with one name in PowerShell the last one serves both, with a warning where they differ.
//!
//! The rules give the places of what is at fault, so that the reader of a file can say where that is. [`check`] and
//! [`check_vaults`] are the same rules over a whole [`Plan`]. Names are compared without case.

use crate::plan::{Extension, Plan, PlanError, Twin, Vault, same_names};
use crate::secret::fold;
use crate::vault::backend::kinds;

/// Refuses a plan whose vaults or mounts do not go together.
pub fn check(plan: &Plan) -> Result<(), PlanError> {
    check_vaults(plan)?;
    if let Some(twin) = same_names(plan.mounts.iter().map(|mount| mount.name.as_str())).first() {
        return Err(PlanError::TwoMounts(plan.mounts[twin.again].name.clone()));
    }
    match plan
        .mounts
        .iter()
        .find(|mount| plan.vault(&mount.vault).is_none() && !is_exposed(plan, &mount.vault))
    {
        Some(mount) => Err(PlanError::NoSuchVault { mount: mount.name.clone(), vault: mount.vault.clone() }),
        None => Ok(()),
    }
}

/// Refuses a plan whose vaults do not go together.
pub fn check_vaults(plan: &Plan) -> Result<(), PlanError> {
    let vaults: Vec<&Vault> = plan.vaults.iter().collect();
    let name = |at: usize| vaults[at].name.clone();
    if let Some(twin) = same_names(vaults.iter().map(|vault| vault.name.as_str())).first() {
        return Err(PlanError::TwoVaults(name(twin.again)));
    }
    if let Some(twin) = same_registrations(&vaults).first() {
        let (first, second) = (name(twin.first), name(twin.again));
        let registered = vaults[twin.again].extension().map(|extension| extension.registered.clone());
        return Err(PlanError::TwoRegistrations {
            first,
            second,
            registered: registered.unwrap_or_default(),
        });
    }
    if let Some((twin, what)) = different_stores(&vaults).first() {
        let module = vaults[twin.again].extension().map(|extension| extension.module_name().to_owned());
        let (first, second) = (name(twin.first), name(twin.again));
        return Err(PlanError::OneStore { first, second, what, module: module.unwrap_or_default() });
    }
    Ok(())
}

/// Whether the plan serves a vault of that name from the user's registry.
pub fn is_exposed(plan: &Plan, name: &str) -> bool {
    plan.auto_import.expose.iter().any(|expose| fold(&expose.vault) == fold(name))
}

/// Vaults of different names that PowerShell would know by one name.
pub fn same_registrations(vaults: &[&Vault]) -> Vec<Twin> {
    let extensions: Vec<(usize, &Extension)> = extensions(vaults).collect();
    let registered: Vec<&str> =
        extensions.iter().map(|(_, extension)| extension.registered.as_str()).collect();
    let twins = same_names(registered).into_iter();
    let twins = twins.map(|twin| Twin { first: extensions[twin.first].0, again: extensions[twin.again].0 });
    twins.filter(|twin| fold(&vaults[twin.first].name) != fold(&vaults[twin.again].name)).collect()
}

/// Vaults of a module that keeps one store for all of them, but that are not given the same configuration and
/// password; with what differs. Vaults that the user registered are never configured, and left out.
pub fn different_stores(vaults: &[&Vault]) -> Vec<(Twin, &'static str)> {
    let is_configured =
        |extension: &Extension| !extension.imported && kinds::settings_of(extension).is_some();
    let stores: Vec<_> = extensions(vaults).filter(|(_, extension)| is_configured(extension)).collect();
    let Some(((first, one), rest)) = stores.split_first() else { return Vec::new() };
    let differs = |other: &Extension| {
        let parameters = (other.parameters != one.parameters).then_some("parameters");
        parameters.or_else(|| (other.unlock != one.unlock).then_some("unlock"))
    };
    let twin = |again: usize| Twin { first: *first, again };
    rest.iter().filter_map(|(again, other)| Some((twin(*again), differs(other)?))).collect()
}

fn extensions<'a>(vaults: &'a [&'a Vault]) -> impl Iterator<Item = (usize, &'a Extension)> {
    vaults.iter().enumerate().filter_map(|(at, vault)| Some((at, vault.extension()?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::{SECRET_STORE, SecretSource, VaultKind};
    use crate::protocol::Parameters;

    fn store(name: &str, more: impl FnOnce(&mut Extension)) -> Vault {
        let mut extension = Extension::new(name, SECRET_STORE);
        more(&mut extension);
        Vault::new(name, VaultKind::Extension(extension))
    }

    fn fault(vaults: Vec<Vault>) -> Option<PlanError> {
        check(&Plan { vaults, ..Plan::default() }).err()
    }

    #[test]
    fn two_vaults_that_would_be_registered_by_one_name_are_refused() {
        let other = |registered: &str| {
            Vault::new("b", VaultKind::Extension(Extension::new(registered, "Other.Module")))
        };
        assert_eq!(fault(vec![store("a", |_| {}), other("c")]), None);
        let error = fault(vec![store("a", |_| {}), other("A")]).unwrap();
        assert_eq!(error.to_string(), "the vaults 'a' and 'b' would both be registered as 'A'");
    }

    #[test]
    fn vaults_of_one_store_have_one_configuration_and_one_password() {
        let plain = || store("a", |_| {});
        assert_eq!(fault(vec![plain(), store("b", |_| {})]), None);
        let parameters = json!({ "Interaction": "Prompt" });
        let parameters = Parameters(parameters.as_object().cloned().unwrap());
        let error = fault(vec![plain(), store("b", |other| other.parameters = parameters.clone())]).unwrap();
        assert!(error.to_string().starts_with("the parameters of the vaults 'a' and 'b' differ"), "{error}");
        let password = Some(SecretSource::Env("PW".into()));
        let error = fault(vec![plain(), store("b", |other| other.unlock = password.clone())]).unwrap();
        assert!(error.to_string().starts_with("the unlock of"), "{error}");
        let imported = store("b", |other| (other.unlock, other.imported) = (password, true));
        assert_eq!(fault(vec![plain(), imported]), None, "it is the user's, and never configured");
    }
}
