//! All settings of the manager: read from flags, the environment and `config.toml`, and checked as
//! a whole before anything is opened.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use campusgrid_core::money::Micros;
use campusgrid_core::policy::{Billing, Policy};
use campusgrid_core::pricing::Prices;
use campusgrid_settings::file::ConfigFile;
use campusgrid_settings::problem::Problems;
use campusgrid_settings::reader::{Flag, Reader};

use crate::web;

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
    pub policy: Policy,
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
        let config = Self {
            host: address(&mut reader, "manager.host"),
            port: reader.integer("manager.port", 9999, 0..=65535),
            dashboard_host: address(&mut reader, "dashboard.host"),
            dashboard_port: reader.integer("dashboard.port", 5000, 0..=65535),
            connections_max: reader.integer("manager.connections_max", 10_000, 1..=1_000_000),
            blob_max_bytes: reader.integer::<u64>("manager.blob_max_mib", 4096, 1..=1 << 20) << 20,
            policy: policy(&mut reader),
            web: web::Config {
                login_days: reader.integer("dashboard.login_days", 30, 1..=365),
                passwords: web::PasswordCosts {
                    memory_kib: reader.integer("dashboard.argon2_memory_kib", 19_456, 8..=4 << 20),
                    passes: reader.integer("dashboard.argon2_passes", 2, 1..=100),
                    lanes: reader.integer("dashboard.argon2_lanes", 1, 1..=64),
                },
                data_dir: data_dir.clone(),
            },
            data_dir,
        };
        reader.finish()?;
        Ok(config)
    }
}

fn policy(reader: &mut Reader) -> Policy {
    let heartbeat_ms = reader.integer("manager.heartbeat_ms", 10_000, 100..=600_000);
    Policy {
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
            rate_permille: reader.integer("credits.rate_permille", 1000, 0..=1_000_000),
        },
        billing: reader.word(
            "credits.billing",
            Billing::Actual,
            &[("actual", Billing::Actual), ("quoted", Billing::Quoted)],
        ),
        fee_permille: reader.integer("credits.fee_permille", 0, 0..=1000),
        tries: reader.integer("jobs.tries", 3, 1..=100),
        active_jobs_max: reader.integer("jobs.active_per_user_max", 10_000, 1..=1_000_000),
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

    #[test]
    fn all_problems_are_told_at_once() {
        let text = "[manager]\nport = -1\nprot = 1\n[credits]\nbilling = \"free\"\n".to_owned();
        let file = ConfigFile { name: "config.toml".to_owned(), text };
        let problems = Config::read(Some(file), [], []).unwrap_err().0;
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
