//! The limits that hold on a machine, in words.

use campusgrid_protocol::rules::{Limits, Whose};

use super::rules::KINDS;
use crate::web::words;

/// What holds there, in words, where the machine says that it is something else than its rules; empty
/// otherwise.
pub(super) fn stricter(rules: &Limits, holds: Option<&Limits>) -> String {
    let differs = holds.filter(|holds| *holds != rules);
    differs.map(in_words).unwrap_or_default()
}

fn in_words(limits: &Limits) -> String {
    let mut parts = Vec::new();
    let mut say =
        |limit: Option<u32>, words: &dyn Fn(u32) -> String| parts.extend(limit.map(words));
    say(limits.cores, &|cores| words::counted(cores.into(), "core", "cores"));
    say(Some(limits.core_percent.into()).filter(|percent| *percent < 100), &|percent| {
        format!("{percent} % of each core")
    });
    say(limits.ram_mib, &|mib| format!("{} memory", words::mib(mib)));
    say(limits.disk_mib, &|mib| format!("{} disk", words::mib(mib)));
    say(limits.gpus.map(u32::from), &|gpus| words::counted(gpus.into(), "GPU", "GPUs"));
    say(limits.network_kib_s, &|kib| {
        format!("{}/s of network", words::bytes(u64::from(kib) * 1024))
    });
    say(limits.at_once, &|tasks| {
        format!("{} at once", words::counted(tasks.into(), "task", "tasks"))
    });
    say(limits.longest_s, &|s| format!("at most {} each", words::span(u64::from(s) * 1000)));
    match &limits.whose {
        Whose::Everyone => {}
        Whose::Mine => parts.push("only your own jobs".to_owned()),
        Whose::Of(names) => {
            parts
                .push(format!("only your jobs and those of {}", words::visible(&names.join(", "))));
        }
    }
    if !limits.kinds.is_empty() {
        let named = KINDS.iter().filter(|(_, _, kind)| limits.kinds.contains(kind));
        let named: Vec<&str> = named.map(|(_, words, _)| *words).collect();
        parts.push(format!("only {}", named.join(", ")));
    }
    if parts.is_empty() { "all that it has".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::rules::{Kind, Limits, Whose};

    use super::stricter;

    #[test]
    fn only_what_differs_is_said() {
        let rules = Limits { cores: Some(4), ..Limits::default() };
        assert_eq!(stricter(&rules, None), "");
        assert_eq!(stricter(&rules, Some(&rules)), "");
        let holds = Limits {
            cores: Some(1),
            core_percent: 50,
            longest_s: Some(3600),
            whose: Whose::Mine,
            kinds: vec![Kind::C],
            ..Limits::default()
        };
        assert_eq!(
            stricter(&rules, Some(&holds)),
            "1 core, 50 % of each core, at most 1 h each, only your own jobs, only C"
        );
        assert_eq!(stricter(&rules, Some(&Limits::default())), "all that it has");
    }
}
