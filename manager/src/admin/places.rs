//! Where machines and people find this manager, for lines that are printed to be used elsewhere.

use std::net::{IpAddr, SocketAddr};

use crate::config::Config;
use crate::web::{PublicUrl, TlsSetting};

/// The port that workers dial if they are not told another.
const USUAL_PORT: u16 = 9999;

/// Where machines and people find this manager, as far as it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    host: String,
    port: u16,
    /// The origin of the dashboard's addresses.
    pub(super) dashboard: String,
}

impl Places {
    /// As configured, on the ports that were given.
    pub fn new(config: &Config, worker_port: u16, dashboard: SocketAddr) -> Self {
        let public = config.web.public_url.as_ref();
        let host = match public.map(PublicUrl::host) {
            Some(host) if config.host.is_unspecified() => host.trim_matches(['[', ']']).to_owned(),
            Some(_) | None => name_of(config.host),
        };
        let dashboard = match public {
            Some(url) => url.origin().to_owned(),
            None => {
                let scheme = if config.web.tls == TlsSetting::Off { "http" } else { "https" };
                let host = name_of(dashboard.ip());
                let host = if host.contains(':') { format!("[{host}]") } else { host };
                format!("{scheme}://{host}:{}", dashboard.port())
            }
        };
        Self { host, port: worker_port, dashboard }
    }

    /// What a worker is told to find this manager.
    pub(super) fn worker_flags(&self) -> String {
        match self.port {
            USUAL_PORT => format!("-m {}", self.host),
            port => format!("-m {} -p {port}", self.host),
        }
    }
}

/// An address that others can use: one that means all of this machine's has the machine's name.
fn name_of(address: IpAddr) -> String {
    if !address.is_unspecified() {
        return address.to_string();
    }
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    use super::Places;

    fn places(environment: &[(&str, &str)]) -> Places {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let config = Config::read(None, environment.iter().map(pair), []).unwrap();
        Places::new(&config, config.port, (config.dashboard_host, config.dashboard_port).into())
    }

    #[test]
    fn lines_are_complete_and_name_what_others_can_reach() {
        let loopback = [
            ("CAMPUSGRID_MANAGER_HOST", "127.0.0.1"),
            ("CAMPUSGRID_DASHBOARD_HOST", "::1"),
            ("MANAGER_PORT", "9000"),
        ];
        let found = places(&loopback);
        assert_eq!(found.worker_flags(), "-m 127.0.0.1 -p 9000");
        assert_eq!(found.dashboard, "http://[::1]:5000");
        let found = places(&[("CAMPUSGRID_DASHBOARD_PUBLIC_URL", "https://grid.campus")]);
        assert_eq!(found.worker_flags(), "-m grid.campus");
        assert_eq!(found.dashboard, "https://grid.campus");
        let found = places(&[("CAMPUSGRID_DASHBOARD_TLS", "own")]);
        assert!(!found.dashboard.contains("0.0.0.0"), "{found:?}");
        assert!(found.dashboard.starts_with("https://") && found.dashboard.ends_with(":5000"));
    }
}
