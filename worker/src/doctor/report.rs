//! Findings as a table for people and as JSON for programs.

use std::fmt::Write;

use campusgrid_protocol::resource::Isolation;
use campusgrid_sandbox::plan::{Check, Holds};
use serde::Serialize;

use super::Findings;

/// The table is at most this wide, but for commands, which must stay in one piece. Characters.
const WIDTH: usize = 80;
/// The widest name of a check that others make room for.
const NAME_MAX: usize = 24;

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    People,
    Json,
}

#[derive(Serialize)]
struct Document<'a> {
    level: Isolation,
    /// Whether other people's jobs can run, be it those alone that accept this level.
    fit: bool,
    checks: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    what: &'a str,
    state: &'static str,
    found: &'a str,
    mend: Option<&'a str>,
}

/// The findings as text that ends with a line break.
pub fn print(findings: &Findings, format: Format) -> String {
    match format {
        Format::People => table(findings),
        Format::Json => json(findings),
    }
}

fn json(findings: &Findings) -> String {
    let checks = findings.checks.iter().map(row).collect();
    let document = Document { level: findings.isolation, fit: findings.is_fit(), checks };
    let text = serde_json::to_string_pretty(&document);
    text.expect("strings, numbers and lists always have a form in JSON") + "\n"
}

fn row(check: &Check) -> Row<'_> {
    Row {
        what: &check.what,
        state: match check.state {
            Holds::Yes => "yes",
            Holds::Optional => "optional",
            Holds::No => "no",
        },
        found: &check.found,
        mend: check.mend.as_deref(),
    }
}

fn table(findings: &Findings) -> String {
    let mut text = String::new();
    let widest = findings.checks.iter().map(|check| check.what.chars().count()).max();
    let name_width = widest.unwrap_or(0).min(NAME_MAX);
    for check in &findings.checks {
        let state = match check.state {
            Holds::Yes => "ok",
            Holds::Optional => "-",
            Holds::No => "MISSING",
        };
        let start = format!("{state:<9}{:<name_width$}  ", check.what);
        let indent = 9 + name_width + 2;
        for (number, line) in wrap(&check.found, WIDTH - indent).into_iter().enumerate() {
            let margin = if number == 0 { start.clone() } else { " ".repeat(indent) };
            let _ = writeln!(text, "{}", format!("{margin}{line}").trim_end());
        }
        if let Some(mend) = &check.mend {
            let label = if check.state == Holds::Optional { "  get:" } else { "  mend:" };
            let _ = writeln!(text, "{label:9}{mend}");
        }
    }
    let missing = findings.checks.iter().filter(|check| check.state == Holds::No).count();
    let verdict = match findings.isolation {
        _ if findings.is_forbidden => "closed: nothing runs here until the policy file is mended",
        Isolation::Full => "full: anybody's jobs run here, behind walls of their own",
        Isolation::Docker => "docker: anybody's jobs run here, in containers",
        Isolation::Restricted => "restricted: only jobs that accept weaker walls run here",
        Isolation::None => "none: nobody else's jobs can run here",
    };
    let _ = writeln!(text, "\nLevel {verdict}.");
    if missing > 0 {
        let things = if missing == 1 { "thing is" } else { "things are" };
        let _ =
            writeln!(text, "{missing} {things} missing; what stands behind \"mend:\" brings them.");
    }
    text
}

/// Lines of at most `width` characters, broken between words where that is possible.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        let is_first = line.is_empty();
        if !is_first && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            line.push_str(if is_first { "" } else { " " });
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn findings(isolation: Isolation) -> Findings {
        let check = |what: &str, state, found: &str, mend: Option<&str>| Check {
            what: what.to_owned(),
            state,
            found: found.to_owned(),
            mend: mend.map(str::to_owned),
        };
        let checks = vec![
            check(
                "system",
                Holds::Yes,
                "Debian GNU/Linux 12 (bookworm), Linux 6.1.0, x86_64",
                None,
            ),
            check(
                "memory limit",
                Holds::No,
                "systemd hands only cpu and pids to this user, so that no task's memory could be limited",
                Some("sudo loginctl enable-linger ada"),
            ),
            check("GPU", Holds::Optional, "none with an NVIDIA driver", None),
        ];
        Findings { isolation, checks, is_forbidden: false }
    }

    #[test]
    fn the_table_fits_80_columns() {
        let text = table(&findings(Isolation::None));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        expect![[r#"
            ok       system        Debian GNU/Linux 12 (bookworm), Linux 6.1.0, x86_64
            MISSING  memory limit  systemd hands only cpu and pids to this user, so that no
                                   task's memory could be limited
              mend:  sudo loginctl enable-linger ada
            -        GPU           none with an NVIDIA driver

            Level none: nobody else's jobs can run here.
            1 thing is missing; what stands behind "mend:" brings them.
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn a_machine_that_may_be_weaker_is_fit_for_those_who_accept_it() {
        let findings = findings(Isolation::Restricted);
        let said = "Level restricted: only jobs that accept weaker walls run here.";
        assert!(findings.is_fit() && table(&findings).contains(said));
    }

    #[test]
    fn programs_get_json() {
        let mut findings = findings(Isolation::Full);
        findings.checks.remove(0);
        expect![[r#"
            {
              "level": "full",
              "fit": true,
              "checks": [
                {
                  "what": "memory limit",
                  "state": "no",
                  "found": "systemd hands only cpu and pids to this user, so that no task's memory could be limited",
                  "mend": "sudo loginctl enable-linger ada"
                },
                {
                  "what": "GPU",
                  "state": "optional",
                  "found": "none with an NVIDIA driver",
                  "mend": null
                }
              ]
            }
        "#]].assert_eq(&json(&findings));
    }

    #[test]
    fn words_longer_than_a_line_stand_alone() {
        assert_eq!(wrap("a bb cccccc d", 4), ["a bb", "cccccc", "d"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
