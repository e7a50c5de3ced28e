//! `campusgrid-worker build-image`: makes the container image that jobs call "default".

use std::io;

use campusgrid_container::debootstrap::Recipe;
use campusgrid_container::error::EngineError;
use campusgrid_sandbox::plan::{Check, Holds};

use crate::config::Config;
use crate::trial::Trial;
use crate::walls;

/// What the owner wants otherwise than the standard recipe has it.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    pub suite: Option<String>,
    pub mirror: Option<String>,
    /// Beside those of the recipe.
    pub packages: Vec<String>,
}

/// Why there is no new image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("the configuration says to use no container engine (worker.use_docker)")]
    NotUsed,
    #[error("failed to make a directory for the build")]
    Scratch { source: io::Error },
    #[error("no container engine works here: {found}")]
    NoEngine { found: String },
    #[error("{word:?} is no {what}")]
    Word { what: &'static str, word: String },
    #[error("failed to build the image")]
    Build { source: EngineError },
}

/// Builds the image beneath the data directory and hands it to the engine; `say` gets a line for
/// each step.
///
/// # Errors
///
/// When there is no engine, or the image cannot be built; an earlier image then stays.
pub async fn build(
    config: &Config,
    wishes: Wishes,
    say: impl FnMut(&str) + Send + 'static,
) -> Result<(), ImageError> {
    let settings = config.engine.as_ref().ok_or(ImageError::NotUsed)?;
    let trial = Trial::make(&config.data_dir, config.weaker)
        .map_err(|source| ImageError::Scratch { source })?;
    let recipe = recipe(config, &trial, wishes)?;
    let state = trial.path.join("engine");
    let (engine, checks) =
        walls::connect(settings, state, trial.instance.clone(), config.first_job_uid).await;
    let engine = engine.ok_or_else(|| ImageError::NoEngine { found: why(&checks) })?;
    let built = engine.build_default(recipe, say).await;
    engine.close().await;
    built.map_err(|source| ImageError::Build { source })
}

/// The standard recipe with the owner's wishes.
fn recipe(config: &Config, trial: &Trial, wishes: Wishes) -> Result<Recipe, ImageError> {
    let plain = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphanumeric())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c))
    };
    let mut recipe = Recipe::standard(config.data_dir.join(format!("image-{}", trial.instance)));
    if let Some(suite) = wishes.suite {
        if !plain(&suite) {
            return Err(ImageError::Word { what: "name of a release", word: suite });
        }
        recipe.suite = suite;
    }
    if let Some(bad) = wishes.packages.iter().find(|name| !plain(name)) {
        return Err(ImageError::Word { what: "name of a package", word: bad.clone() });
    }
    recipe.packages.extend(wishes.packages);
    if let Some(mirror) = wishes.mirror {
        // What began with a dash would be taken for an option.
        if !mirror.contains(":/") || mirror.starts_with('-') {
            return Err(ImageError::Word { what: "address of packages", word: mirror });
        }
        recipe.mirror = Some(mirror);
    }
    Ok(recipe)
}

/// What an engine lacks.
fn why(checks: &[Check]) -> String {
    let missing = checks.iter().filter(|check| check.state == Holds::No);
    let lines: Vec<String> = missing
        .map(|check| match &check.mend {
            Some(mend) => format!("{}: {} (to mend it: {mend})", check.what, check.found),
            None => format!("{}: {}", check.what, check.found),
        })
        .collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn wishes_are_checked_before_anything_is_built() {
        let config = Config::read_without_manager(None, BTreeMap::new(), Vec::new()).unwrap();
        let trial = Trial::make(&std::env::temp_dir(), config.weaker).unwrap();
        let check = |wishes: Wishes| recipe(&config, &trial, wishes).is_ok();
        let text = |text: &str| Some(text.to_owned());
        assert!(check(Wishes {
            suite: text("bookworm"),
            mirror: text("http://deb.example/debian"),
            packages: vec!["g++".to_owned(), "python3.11".to_owned()],
        }));
        assert!(!check(Wishes { suite: text("--foreign"), ..Wishes::default() }));
        assert!(!check(Wishes { mirror: text("-x:/"), ..Wishes::default() }));
        assert!(!check(Wishes { packages: vec!["a,b".to_owned()], ..Wishes::default() }));
    }
}
