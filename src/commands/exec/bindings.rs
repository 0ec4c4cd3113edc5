//! Which secret goes where: what the arguments, files of variables and the environment name.

use std::collections::BTreeMap;
use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::{Binding, ExecArgs};
use crate::commands::export;
use crate::commands::import;
use crate::reach::{Failure, Reach, SecretName, WantedVaults};
use crate::secret::SecretValue;

/// What goes where.
pub(super) struct Bindings {
    /// The variables of our own environment that are references. They are read as names where nothing else fills them.
    inherited: BTreeMap<String, String>,
    /// Vaults, and perhaps patterns, whose secrets are variables by the names of their keys.
    from: Vec<String>,
    variables: BTreeMap<String, BoundVariable>,
    files: Vec<Binding>,
}

/// What a variable is to hold.
enum BoundVariable {
    Secret(SecretName),
    /// What a file of variables says, where it is no reference.
    Plain(Zeroizing<String>),
}

/// The values, as they were read together.
#[derive(PartialEq)]
pub(super) struct BoundValues {
    pub(super) variables: BTreeMap<String, SecretValue>,
    /// In the order of the arguments.
    pub(super) files: Vec<(String, SecretValue)>,
    /// The values that are secrets, which --mask hides.
    pub(super) secrets: Vec<SecretValue>,
}

impl Bindings {
    /// What names a variable last counts: our own environment, then --from, then files, then --env.
    pub(super) fn of(arguments: &ExecArgs) -> Result<Bindings, Failure> {
        let mut variables = BTreeMap::new();
        for file in &arguments.env_file {
            variables.extend(of_file(file)?);
        }
        let said = arguments.env.iter();
        variables.extend(said.map(|said| (said.place.clone(), BoundVariable::Secret(said.name.clone()))));
        let texts = std::env::vars_os()
            .filter_map(|(variable, text)| Some((variable.into_string().ok()?, text.into_string().ok()?)));
        let inherited = texts
            .filter(|(variable, text)| SecretName::is_reference(text) && !variables.contains_key(variable))
            .collect();
        Ok(Bindings { inherited, from: arguments.from.clone(), variables, files: arguments.file.clone() })
    }

    /// The vaults that are needed.
    pub(super) fn wanted(&self) -> WantedVaults {
        let of_patterns = self.from.iter().map(|from| SecretName::key(export::vault_of(from), "*"));
        let of_inherited = self.inherited.values().filter_map(|text| text.parse().ok());
        let of_variables = self.variables.values().filter_map(|variable| match variable {
            BoundVariable::Secret(name) => Some(name.clone()),
            BoundVariable::Plain(_) => None,
        });
        let of_files = self.files.iter().map(|file| file.name.clone());
        WantedVaults::Names(of_patterns.chain(of_inherited).chain(of_variables).chain(of_files).collect())
    }

    /// Reads all that counts, each secret once. What something else names the same variable for is not read.
    pub(super) async fn read(&self, reach: &Reach) -> Result<BoundValues, Failure> {
        let mut bound = BTreeMap::new();
        for from in &self.from {
            bound.extend(
                export::bindings(from, reach).await?.into_iter().map(|found| (found.place, found.name)),
            );
        }
        for (variable, text) in &self.inherited {
            if !bound.contains_key(variable) {
                bound.insert(variable.clone(), parsed(text, || format!("the variable {variable}"))?);
            }
        }
        bound.retain(|variable, _| !self.variables.contains_key(variable));
        let mut known = KnownValues::new();
        let mut variables = BTreeMap::new();
        for (variable, name) in bound {
            variables.insert(variable, read_once(&mut known, reach, &name).await?);
        }
        for (variable, what) in &self.variables {
            variables.insert(variable.clone(), what.read(&mut known, reach).await?);
        }
        let mut files = Vec::new();
        for file in &self.files {
            files.push((file.place.clone(), read_once(&mut known, reach, &file.name).await?));
        }
        Ok(BoundValues { variables, files, secrets: known.into_values().collect() })
    }
}

impl BoundVariable {
    async fn read(&self, known: &mut KnownValues, reach: &Reach) -> Result<SecretValue, Failure> {
        match self {
            BoundVariable::Secret(name) => read_once(known, reach, name).await,
            BoundVariable::Plain(text) => Ok(SecretValue::string(text.as_str())),
        }
    }
}

/// What was read already, by the secret's name.
type KnownValues = BTreeMap<String, SecretValue>;

async fn read_once(
    known: &mut KnownValues,
    reach: &Reach,
    name: &SecretName,
) -> Result<SecretValue, Failure> {
    let shown = name.to_string();
    if let Some(value) = known.get(&shown) {
        return Ok(value.clone());
    }
    let value = reach.get(name).await?.value;
    known.insert(shown, value.clone());
    Ok(value)
}

/// The variables of a .env file.
fn of_file(path: &Path) -> Result<Vec<(String, BoundVariable)>, Failure> {
    let text = import::text_of(path)?;
    let items =
        import::variables(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    let read = |(name, text): (String, Zeroizing<String>)| {
        let variable = match SecretName::is_reference(&text) {
            true => BoundVariable::Secret(parsed(&text, || format!("{}: {name}", path.display()))?),
            false => BoundVariable::Plain(text),
        };
        Ok((name, variable))
    };
    items.into_iter().map(read).collect()
}

fn parsed(reference: &str, place: impl Fn() -> String) -> Result<SecretName, Failure> {
    reference.parse().map_err(|error| Failure::usage(format!("{}: {error}", place())))
}
