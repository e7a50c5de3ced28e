//! A step without walls: the paths that a task expects are the host's own here.

use std::path::PathBuf;
use std::process::Command;

use crate::order::{JOB, Order};

/// Replaces the paths inside a sandbox by those on the host, where a text begins with one.
///
/// A value may be a list of paths with colons between them.
pub(super) fn on_host(mut order: Order) -> Order {
    let mut places = vec![(PathBuf::from(JOB), order.walls.scratch().join("job"))];
    let shown = order.read_only.iter().map(|(host, inside)| (inside.clone(), host.clone()));
    places.extend(shown);
    let translate = |text: &mut String| {
        let parts: Vec<String> = text.split(':').map(|part| on_host_path(&places, part)).collect();
        *text = parts.join(":");
    };
    order.steps.iter_mut().flatten().for_each(translate);
    order.environment.iter_mut().map(|(_, value)| value).for_each(translate);
    order
}

/// Prepares `argv` to run in the task's directory with the task's environment.
pub(super) fn prepare(order: &Order, argv: &[String]) -> Command {
    let mut command = Command::new(&argv[0]);
    let environment = order.environment.iter().map(|(name, value)| (name, value));
    command.args(&argv[1..]).env_clear().envs(environment);
    command.current_dir(order.walls.scratch().join("job"));
    command
}

fn on_host_path(places: &[(PathBuf, PathBuf)], part: &str) -> String {
    let host = places.iter().find_map(|(inside, host)| {
        let rest = part.strip_prefix(inside.to_str()?)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{}{rest}", host.display()))
    });
    host.unwrap_or_else(|| part.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_paths_are_translated() {
        let places = [(PathBuf::from("/job"), PathBuf::from("/data/x/job"))];
        let check = |part: &str, wanted: &str| assert_eq!(on_host_path(&places, part), wanted);
        check("/job", "/data/x/job");
        check("/job/outputs", "/data/x/job/outputs");
        check("/jobs", "/jobs");
        check("echo /job", "echo /job");
    }
}
