//! What the owner's rules go by: which sources tell whether somebody is here, and what feeds the machine;
//! the clock; the policy file.

use std::path::Path;

use campusgrid_sandbox::plan::{Check, Holds};
use campusgrid_sharing::senses::Presence;
use jiff::tz::TimeZone;

use super::machine::check;
use crate::policy;
use crate::senses::report::{Report, Source, presence};
use crate::senses::{Places, look_once, moment};
use crate::status::SourceLine;

/// Where systemd's own client of time servers notes that it has reached one.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";
/// Where other clients run.
const OTHER_CLIENTS: [&str; 3] = ["/run/chrony", "/run/ntpd.pid", "/run/openntpd"];

/// Each source with what it says; and whether they are enough to tell that nobody is here.
pub(super) async fn sources(places: &Places) -> Vec<Check> {
    let reports = look_once(places).await;
    let now = moment();
    let is_told = match presence(&reports) {
        Presence::Unknown => false,
        Presence::Here | Presence::AwaySince { .. } => true,
    };
    let told = |report: &Report| {
        let line = SourceLine::of(report, now);
        let topic = topic(report.source);
        let state = if line.works { Holds::Yes } else { Holds::Optional };
        // One source that tells whether somebody is here is enough.
        let is_enough = line.works || (is_told && topic == "idle");
        let mend = mend(report).filter(|_| !is_enough);
        check(&format!("{topic}: {}", line.source), state, line.says, mend)
    };
    let mut checks: Vec<Check> = reports.iter().map(told).collect();
    checks.push(if is_told {
        let found = "what it says is enough to share only while nobody is here".to_owned();
        check("idle", Holds::Yes, found, None)
    } else {
        let found = "nothing tells whether somebody is here: a rule to share only when idle would \
                     share never"
            .to_owned();
        check("idle", Holds::Optional, found, Some("campusgrid-worker install --user-unit"))
    });
    checks
}

/// What a source is asked about.
fn topic(source: Source) -> &'static str {
    match source {
        Source::Mutter
        | Source::ScreenSaver
        | Source::Input
        | Source::Terminals
        | Source::Logind => "idle",
        Source::LogindSleep => "sleep",
        Source::UPower | Source::PowerSupply => "power",
        Source::NetworkManager => "network",
        Source::Thermal => "heat",
        Source::Processes => "load",
    }
}

/// What makes a source speak.
fn mend(report: &Report) -> Option<&'static str> {
    match report.source {
        Source::Mutter | Source::ScreenSaver => Some("campusgrid-worker install --user-unit"),
        Source::Input => Some("sudo usermod -aG input $USER, then log in anew"),
        Source::Logind => Some("sudo apt-get install dbus systemd"),
        Source::UPower => Some("sudo apt-get install upower"),
        Source::NetworkManager => Some("sudo apt-get install network-manager"),
        Source::Thermal => Some("sudo modprobe coretemp || sudo modprobe k10temp"),
        Source::Terminals | Source::LogindSleep | Source::PowerSupply | Source::Processes => None,
    }
}

/// The clock and its zone, by which hours of the week are counted.
pub(super) fn time() -> Vec<Check> {
    let is_kept = Path::new(SYNCHRONIZED).exists()
        || OTHER_CLIENTS.iter().any(|client| Path::new(client).exists());
    let clock = if is_kept {
        check("clock", Holds::Yes, "set by time servers".to_owned(), None)
    } else {
        let found = "nothing here is known to set it; hours of the week go by it".to_owned();
        check("clock", Holds::Optional, found, Some("sudo timedatectl set-ntp true"))
    };
    let zone = match TimeZone::system().iana_name() {
        Some(name) => check("time zone", Holds::Yes, name.to_owned(), None),
        None => {
            let found =
                "not known by name; rules that name none go by the clock as it is".to_owned();
            let mend = Some("sudo timedatectl set-timezone Europe/Berlin");
            check("time zone", Holds::Optional, found, mend)
        }
    };
    vec![clock, zone]
}

/// Whether the policy file can be followed.
pub(super) fn policy(path: &Path) -> Check {
    match policy::read(path) {
        Ok(Some(_)) => check("policy file", Holds::Yes, format!("{} holds", path.display()), None),
        Ok(None) => check("policy file", Holds::Yes, format!("none at {}", path.display()), None),
        Err(error) => {
            let found = format!("{:#}", anyhow::Error::new(error));
            check("policy file", Holds::No, found, Some("correct it: until then nothing is shared"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::senses::bus::Address;

    #[tokio::test]
    async fn every_source_that_is_silent_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = Address::At("unix:path=/nonexistent/bus".to_owned());
        let places = Places {
            sys: folder.path().to_owned(),
            dev: folder.path().to_owned(),
            proc: folder.path().to_owned(),
            system_bus: nowhere.clone(),
            session_bus: nowhere,
        };
        let checks = sources(&places).await;
        let rows: Vec<String> = checks
            .iter()
            .map(|check| {
                let mend = if check.mend.is_some() { " (with a fix)" } else { "" };
                format!("{:?} {}{mend}", check.state, check.what)
            })
            .collect();
        expect_test::expect![[r#"
            Optional idle: logind
            Optional power: UPower (with a fix)
            Optional network: NetworkManager (with a fix)
            Optional idle: GNOME
            Optional idle: screen saver
            Yes idle: input devices
            Optional idle: terminals
            Yes power: kernel
            Optional heat: kernel (with a fix)
            Yes idle"#]]
        .assert_eq(&rows.join("\n"));
        assert!(checks.iter().all(|check| !check.found.is_empty()));
    }

    #[test]
    fn a_policy_that_cannot_be_followed_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        assert_eq!(policy(&path).state, Holds::Yes);
        std::fs::write(&path, "[limits]\ncore = 3").unwrap();
        assert_eq!(policy(&path).state, Holds::No);
        assert_eq!(time().len(), 2);
    }
}
