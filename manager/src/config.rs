//! All settings of the manager: read from flags, the environment and `config.toml`, and checked as
//! a whole before anything is opened.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use campusgrid_core::money::Micros;
use campusgrid_core::policy::{Admission, Billing, Policy};
use campusgrid_core::pricing::Prices;
use campusgrid_identity::authority::MACHINE_LIFE;
use campusgrid_settings::file::ConfigFile;
use campusgrid_settings::problem::Problems;
use campusgrid_settings::reader::{Flag, Reader};

use crate::notify;
use crate::web::{self, Domains, FileLimits, Proxies, PublicUrl, TlsSetting};

/// The manager's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where workers dial in.
    pub host: IpAddr,
    pub port: u16,
    pub dashboard_host: IpAddr,
    pub dashboard_port: u16,
    pub data_dir: PathBuf,
    pub connections_max: usize,
    pub blob_max_bytes: u64,
    /// How long a worker's certificate is good; it is renewed when two thirds of that are over.
    pub certificate_life: Duration,
    /// With less than this free where the data are, nothing new is taken in.
    pub disk_reserve_bytes: u64,
    /// How often the books are checked while the manager runs.
    pub books_check_minutes: u32,
    pub policy: Policy,
    pub notify: notify::Config,
    pub web: web::Config,
}

/// A thousand credits for one unit of anything is a typing mistake. Micro-credits.
const PRICE_MAX: i64 = 1_000_000_000;

impl Config {
    /// Reads every setting.
    ///
    /// # Errors
    ///
    /// All problems at once: unknown keys, wrong types, values out of range.
    pub fn read(
        file: Option<ConfigFile>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = Flag>,
    ) -> Result<Self, Problems> {
        let mut reader = Reader::new(file, environment, flags);
        reader.leave_section("worker");
        reader.alias("manager.host", "MANAGER_HOST");
        reader.alias("manager.port", "MANAGER_PORT");
        reader.alias("dashboard.port", "DASHBOARD_PORT");
        reader.alias("credits.starting", "STARTING_CREDITS");
        let data_dir = reader.path("manager.data_dir", Path::new("campusgrid-data"));
        let notify = notify::Config::read(&mut reader);
        let files = files(&mut reader);
        let config = Self {
            host: address(&mut reader, "manager.host"),
            port: reader.integer("manager.port", 9999, 0..=65535),
            dashboard_host: address(&mut reader, "dashboard.host"),
            dashboard_port: reader.integer("dashboard.port", 5000, 0..=65535),
            connections_max: reader.integer("manager.connections_max", 10_000, 1..=1_000_000),
            blob_max_bytes: reader.integer::<u64>("manager.blob_max_mib", 4096, 1..=1 << 20) << 20,
            certificate_life: Duration::from_secs(reader.integer(
                "manager.certificate_life_s",
                MACHINE_LIFE.as_secs(),
                10..=365 * 86_400,
            )),
            disk_reserve_bytes: reader.integer::<u64>("manager.disk_reserve_mib", 512, 0..=1 << 20)
                << 20,
            books_check_minutes: reader.integer("manager.books_check_minutes", 60, 1..=10_080),
            policy: policy(&mut reader, files.draft_days),
            web: web::Config {
                tls: tls(&mut reader),
                public_url: public_url(&mut reader),
                proxies: proxies(&mut reader),
                verified_domains: verified_domains(&mut reader),
                login_days: reader.integer("dashboard.login_days", 30, 1..=365),
                passwords: web::PasswordCosts {
                    memory_kib: reader.integer("dashboard.argon2_memory_kib", 19_456, 8..=4 << 20),
                    passes: reader.integer("dashboard.argon2_passes", 2, 1..=100),
                    lanes: reader.integer("dashboard.argon2_lanes", 1, 1..=64),
                },
                data_dir: data_dir.clone(),
                notices: notify.offered(),
                files,
            },
            notify,
            data_dir,
        };
        check_scheme(&mut reader, &config.web);
        if config.policy.verified_grants && config.notify.mail.is_none() {
            reader.problem(
                "credits.verified_grants needs a mail server: set mail.host and mail.from"
                    .to_owned(),
            );
        }
        if !config.policy.verified_grants && !config.web.verified_domains.is_empty() {
            reader.problem(
                "credits.verified_domains is used with credits.verified_grants = true only"
                    .to_owned(),
            );
        }
        reader.finish()?;
        Ok(config)
    }
}

fn tls(reader: &mut Reader) -> TlsSetting {
    let words = [("off", Tls::Off), ("own", Tls::Own), ("files", Tls::Files)];
    let wanted = reader.word("dashboard.tls", Tls::Off, &words);
    let certificate = reader.optional_path("dashboard.tls_certificate");
    let key = reader.optional_path("dashboard.tls_key");
    let names =
        reader.optional_text("dashboard.tls_names", |text| web::parse_names(text).map(drop));
    if wanted != Tls::Files && (certificate.is_some() || key.is_some()) {
        reader.problem(
            "dashboard.tls_certificate and tls_key are used with dashboard.tls = \"files\" only"
                .to_owned(),
        );
    }
    if wanted != Tls::Own && names.is_some() {
        reader.problem("dashboard.tls_names is used with dashboard.tls = \"own\" only".to_owned());
    }
    match (wanted, certificate, key) {
        (Tls::Off, _, _) => TlsSetting::Off,
        (Tls::Own, _, _) => {
            let names = names.and_then(|names| web::parse_names(&names).ok());
            TlsSetting::Own { names: names.unwrap_or_default() }
        }
        (Tls::Files, Some(certificate), Some(key)) => TlsSetting::Files { certificate, key },
        (Tls::Files, _, _) => {
            reader.problem(
                "dashboard.tls = \"files\" needs dashboard.tls_certificate and dashboard.tls_key"
                    .to_owned(),
            );
            TlsSetting::Off
        }
    }
}

/// The words for [`TlsSetting`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    Off,
    Own,
    Files,
}

fn files(reader: &mut Reader) -> FileLimits {
    FileLimits {
        file_max_bytes: reader.integer::<u64>("jobs.file_max_mib", 16_384, 1..=1 << 22) << 20,
        storage_max_bytes: reader.integer::<u64>("jobs.storage_mib", 102_400, 1..=1 << 30) << 20,
        keep_days: reader.integer("jobs.keep_days", 30, 1..=36_500),
        draft_days: reader.integer("jobs.draft_days", 7, 1..=36_500),
    }
}

fn public_url(reader: &mut Reader) -> Option<PublicUrl> {
    let check = |text: &str| text.parse::<PublicUrl>().map(drop);
    reader.optional_text("dashboard.public_url", check)?.parse().ok()
}

fn proxies(reader: &mut Reader) -> Proxies {
    let check = |text: &str| text.parse::<Proxies>().map(drop);
    reader.text("dashboard.proxies", "", check).parse().unwrap_or_default()
}

fn verified_domains(reader: &mut Reader) -> Domains {
    let check = |text: &str| text.parse::<Domains>().map(drop);
    reader.text("credits.verified_domains", "", check).parse().unwrap_or_default()
}

/// People would be sent to an address that does not answer.
fn check_scheme(reader: &mut Reader, config: &web::Config) {
    let is_plain = config.public_url.as_ref().is_some_and(|url| !url.is_secure());
    if is_plain && config.tls != TlsSetting::Off {
        reader.problem(
            "dashboard.public_url is http:// while dashboard.tls is on: make it https://"
                .to_owned(),
        );
    }
}

fn policy(reader: &mut Reader, draft_days: u32) -> Policy {
    let heartbeat_ms = reader.integer("manager.heartbeat_ms", 10_000, 100..=600_000);
    Policy {
        admission: reader.word(
            "dashboard.registration",
            Admission::Open,
            &[
                ("open", Admission::Open),
                ("invitation", Admission::Invitation),
                ("closed", Admission::Closed),
            ],
        ),
        starting_credits: Micros::from_credits(reader.integer(
            "credits.starting",
            100,
            0..=1_000_000_000,
        )),
        prices: Prices {
            base: price(reader, "credits.base_micros", 5_000_000),
            core: price(reader, "credits.core_micros", 2_000_000),
            ram_gib: price(reader, "credits.ram_gib_micros", 1_000_000),
            gpu: price(reader, "credits.gpu_micros", 10_000_000),
            minute: price(reader, "credits.minute_micros", 1_000_000),
            ..Prices::default()
        },
        rate_permille: reader.integer("credits.rate_permille", 1000, 0..=1_000_000),
        premium: reader.switch("credits.premium", false),
        verified_grants: reader.switch("credits.verified_grants", false),
        billing: reader.word(
            "credits.billing",
            Billing::Actual,
            &[("actual", Billing::Actual), ("quoted", Billing::Quoted)],
        ),
        fee_permille: reader.integer("credits.fee_permille", 0, 0..=1000),
        tries: reader.integer("jobs.tries", 3, 1..=100),
        active_jobs_max: reader.integer("jobs.active_per_user_max", 10_000, 1..=1_000_000),
        draft_ms: u64::from(draft_days) * 86_400_000,
        submit_key_ms: reader.integer::<u64>("jobs.submit_key_hours", 24, 1..=720) * 3_600_000,
        lease_ms: reader.integer("manager.lease_ms", 90_000, 3 * heartbeat_ms..=3_600_000),
        heartbeat_ms,
    }
}

fn price(reader: &mut Reader, key: &'static str, default: i64) -> Micros {
    Micros(reader.integer(key, default, 0..=PRICE_MAX))
}

/// All addresses of this machine unless one is named: workers and browsers are elsewhere.
fn address(reader: &mut Reader, key: &'static str) -> IpAddr {
    let check = |text: &str| text.parse::<IpAddr>().map(drop);
    let text = reader.text(key, "0.0.0.0", check);
    text.parse().unwrap_or(IpAddr::from([0, 0, 0, 0]))
}

#[cfg(test)]
mod tests {
    use campusgrid_settings::file::ConfigFile;
    use campusgrid_settings::reader::Flag;

    use super::Config;

    fn shipped() -> ConfigFile {
        let text = include_str!("../../config.toml").to_owned();
        ConfigFile { name: "config.toml".to_owned(), text }
    }

    #[test]
    fn the_shipped_file_says_what_holds_without_it() {
        let with = Config::read(Some(shipped()), [], []).unwrap();
        let without = Config::read(None, [], []).unwrap();
        assert_eq!(format!("{with:?}"), format!("{without:?}"));
    }

    #[test]
    fn the_environment_outweighs_the_file_and_flags_outweigh_both() {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let environment = [
            variable("MANAGER_PORT", "1"),
            variable("DASHBOARD_PORT", "2"),
            variable("STARTING_CREDITS", "7"),
            variable("CAMPUSGRID_CREDITS_FEE_PERMILLE", "30"),
        ];
        let flag = Flag {
            name: "--port".to_owned(),
            key: "manager.port".to_owned(),
            value: "3".to_owned(),
        };
        let config = Config::read(Some(shipped()), environment, [flag]).unwrap();
        let Config { port, dashboard_port, policy, .. } = config;
        let starting = policy.starting_credits.to_string();
        assert_eq!((port, dashboard_port, starting.as_str()), (3, 2, "7"));
        assert_eq!(policy.fee_permille, 30);
    }

    fn problems(text: &str) -> Vec<String> {
        let file = ConfigFile { name: "config.toml".to_owned(), text: text.to_owned() };
        Config::read(Some(file), [], []).map_err(|problems| problems.0).err().unwrap_or_default()
    }

    #[test]
    fn a_dashboard_is_not_left_in_the_clear_by_mistake() {
        for (settings, words) in [
            ("tls = \"on\"", "must be one of: off, own, files"),
            ("tls = \"files\"", "needs dashboard.tls_certificate and dashboard.tls_key"),
            ("tls = \"files\"\ntls_key = \"k\"", "needs dashboard.tls_certificate"),
            ("tls_certificate = \"c\"\ntls_key = \"k\"", "with dashboard.tls = \"files\" only"),
            ("tls_names = \"grid.campus\"", "with dashboard.tls = \"own\" only"),
            ("tls = \"own\"\ntls_names = \"no name!\"", "dashboard.tls_names"),
            ("public_url = \"grid.campus\"", "must be https://HOST"),
            ("tls = \"own\"\npublic_url = \"http://grid.campus\"", "make it https://"),
            ("proxies = \"nginx\"", "\"nginx\" is no address"),
            ("registration = \"anyone\"", "must be one of: open, invitation, closed"),
        ] {
            let found = problems(&format!("[dashboard]\n{settings}\n"));
            assert_eq!(found.len(), 1, "{settings}: {found:?}");
            assert!(found[0].contains(words), "{settings}: {found:?}");
        }
        for settings in [
            "tls = \"files\"\ntls_certificate = \"c.pem\"\ntls_key = \"k.pem\"",
            "tls = \"own\"\ntls_names = \"grid.campus, 10.0.0.7\"\npublic_url = \"https://grid.campus\"",
            "public_url = \"http://grid.campus:5000\"\nproxies = \"127.0.0.1, fd00::/8\"",
        ] {
            assert_eq!(problems(&format!("[dashboard]\n{settings}\n")), [""; 0], "{settings}");
        }
    }

    #[test]
    fn credits_for_an_address_take_a_way_to_send_mail() {
        let mail = "[mail]\nhost = \"mail.example.org\"\nfrom = \"grid@example.org\"\n";
        let found = problems("[credits]\nverified_grants = true\npremium = true\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("credits.verified_grants needs a mail server"), "{found:?}");
        assert_eq!(problems(&format!("[credits]\nverified_grants = true\n{mail}")), [""; 0]);
        let of = |domains: &str, grants: bool| {
            let credits = format!("verified_grants = {grants}\nverified_domains = \"{domains}\"");
            problems(&format!("[credits]\n{credits}\n{mail}"))
        };
        assert_eq!(of("campus.edu, students.campus.edu", true), [""; 0]);
        assert!(of("@campus.edu", true)[0].contains("must be domains such as"));
        assert!(of("campus.edu", false)[0].contains("with credits.verified_grants = true only"));
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = "[manager]\nport = -1\nprot = 1\n[credits]\nbilling = \"free\"\n".to_owned();
        let file = ConfigFile { name: "config.toml".to_owned(), text };
        let problems = Config::read(Some(file), [], []).unwrap_err().0;
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
