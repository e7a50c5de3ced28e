//! A made-up machine: a real D-Bus, and stand-ins on it for what a desktop has there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use zbus::connection::Builder;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, OwnedObjectPath, interface};

const LOGIND: &str = "/org/freedesktop/login1";
const SESSION: &str = "/org/freedesktop/login1/session/_31";
const UPOWER: &str = "/org/freedesktop/UPower";
const DEVICE: &str = "/org/freedesktop/UPower/devices/DisplayDevice";
const NETWORK: &str = "/org/freedesktop/NetworkManager";
const MUTTER: &str = "/org/gnome/Mutter/IdleMonitor/Core";

/// A bus of its own, gone when dropped.
pub(crate) struct Bus {
    daemon: Child,
    pub(crate) address: String,
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Bus {
    /// None where there is no dbus-daemon.
    pub(crate) fn start(folder: &Path, name: &str) -> Option<Self> {
        let socket = folder.join(name);
        let address = format!("unix:path={}", socket.display());
        let config = folder.join(format!("{name}.conf"));
        let text = format!(
            "<busconfig><type>session</type><listen>{address}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow send_destination=\"*\"/><allow own=\"*\"/>\
             <allow receive_sender=\"*\"/></policy></busconfig>"
        );
        fs::write(&config, text).unwrap();
        let daemon = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--nopidfile", "--print-address=1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut bus = Self { daemon, address };
        // It prints its address as soon as it listens.
        let mut line = String::new();
        let mut out = std::io::BufReader::new(bus.daemon.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        assert!(!line.is_empty(), "dbus-daemon did not start");
        Some(bus)
    }
}

struct Manager {
    asleep: bool,
}

#[interface(name = "org.freedesktop.login1.Manager")]
impl Manager {
    fn list_sessions(&self) -> Vec<(String, u32, String, String, OwnedObjectPath)> {
        let path = OwnedObjectPath::try_from(SESSION).unwrap();
        vec![("1".to_owned(), 1000, "ada".to_owned(), "seat0".to_owned(), path)]
    }

    #[zbus(property)]
    fn preparing_for_sleep(&self) -> bool {
        self.asleep
    }

    #[zbus(signal)]
    async fn prepare_for_sleep(emitter: &SignalEmitter<'_>, start: bool) -> zbus::Result<()>;
}

struct Session {
    idle: bool,
    since_us: u64,
    locked: bool,
}

#[interface(name = "org.freedesktop.login1.Session")]
impl Session {
    #[zbus(property)]
    fn class(&self) -> String {
        "user".to_owned()
    }

    #[zbus(property)]
    fn idle_hint(&self) -> bool {
        self.idle
    }

    #[zbus(property)]
    fn idle_since_hint_monotonic(&self) -> u64 {
        self.since_us
    }

    #[zbus(property)]
    fn locked_hint(&self) -> bool {
        self.locked
    }
}

struct Power {
    on_battery: bool,
}

#[interface(name = "org.freedesktop.UPower")]
impl Power {
    #[zbus(property)]
    fn on_battery(&self) -> bool {
        self.on_battery
    }
}

struct Battery;

#[interface(name = "org.freedesktop.UPower.Device")]
impl Battery {
    #[zbus(property)]
    fn percentage(&self) -> f64 {
        61.7
    }
}

struct Network {
    metered: u32,
}

#[interface(name = "org.freedesktop.NetworkManager")]
impl Network {
    #[zbus(property)]
    fn metered(&self) -> u32 {
        self.metered
    }
}

struct Mutter {
    idle_ms: u64,
    watches: u32,
}

#[interface(name = "org.gnome.Mutter.IdleMonitor")]
impl Mutter {
    fn get_idletime(&self) -> u64 {
        self.idle_ms
    }

    fn add_user_active_watch(&mut self) -> u32 {
        self.watches += 1;
        self.watches
    }

    #[zbus(signal)]
    async fn watch_fired(emitter: &SignalEmitter<'_>, id: u32) -> zbus::Result<()>;
}

/// The stand-ins of the system's bus.
pub(crate) struct System(Connection);

impl System {
    /// With one session, in which nobody has done anything for some seconds, on mains power.
    pub(crate) async fn serve(bus: &Bus, idle_s: u64) -> Self {
        let session = Session { idle: true, since_us: ago_us(idle_s), locked: false };
        let connection = Builder::address(bus.address.as_str())
            .serve_at(LOGIND, Manager { asleep: false })
            .serve_at(SESSION, session)
            .serve_at(UPOWER, Power { on_battery: false })
            .serve_at(DEVICE, Battery)
            .serve_at(NETWORK, Network { metered: 4 })
            .name("org.freedesktop.login1")
            .name("org.freedesktop.UPower")
            .name("org.freedesktop.NetworkManager")
            .build()
            .await
            .unwrap();
        Self(connection)
    }

    /// Somebody is at the session, or has left it so long ago.
    pub(crate) async fn idle(&self, idle_s: Option<u64>) {
        let session = self.0.object_server().interface::<_, Session>(SESSION).await.unwrap();
        let mut held = session.get_mut().await;
        held.idle = idle_s.is_some();
        held.since_us = ago_us(idle_s.unwrap_or(0));
        held.idle_hint_changed(session.signal_emitter()).await.unwrap();
    }

    pub(crate) async fn lock(&self, locked: bool) {
        let session = self.0.object_server().interface::<_, Session>(SESSION).await.unwrap();
        let mut held = session.get_mut().await;
        held.locked = locked;
        held.locked_hint_changed(session.signal_emitter()).await.unwrap();
    }

    pub(crate) async fn sleep(&self, asleep: bool) {
        let manager = self.0.object_server().interface::<_, Manager>(LOGIND).await.unwrap();
        manager.get_mut().await.asleep = asleep;
        Manager::prepare_for_sleep(manager.signal_emitter(), asleep).await.unwrap();
    }

    pub(crate) async fn battery(&self, on_battery: bool) {
        let power = self.0.object_server().interface::<_, Power>(UPOWER).await.unwrap();
        let mut held = power.get_mut().await;
        held.on_battery = on_battery;
        held.on_battery_changed(power.signal_emitter()).await.unwrap();
    }

    pub(crate) async fn metered(&self, metered: u32) {
        let network = self.0.object_server().interface::<_, Network>(NETWORK).await.unwrap();
        let mut held = network.get_mut().await;
        held.metered = metered;
        held.metered_changed(network.signal_emitter()).await.unwrap();
    }
}

/// GNOME's monitor on the session's bus.
pub(crate) struct Gnome(Connection);

impl Gnome {
    pub(crate) async fn serve(bus: &Bus, idle_ms: u64) -> Self {
        let connection = Builder::address(bus.address.as_str())
            .serve_at(MUTTER, Mutter { idle_ms, watches: 0 })
            .name("org.gnome.Mutter.IdleMonitor")
            .build()
            .await
            .unwrap();
        Self(connection)
    }

    /// Somebody moves the mouse.
    pub(crate) async fn touch(&self) {
        let monitor = self.0.object_server().interface::<_, Mutter>(MUTTER).await.unwrap();
        let mut held = monitor.get_mut().await;
        held.idle_ms = 0;
        let watch = held.watches;
        drop(held);
        Mutter::watch_fired(monitor.signal_emitter(), watch).await.unwrap();
    }

    pub(crate) async fn watches(&self) -> u32 {
        let monitor = self.0.object_server().interface::<_, Mutter>(MUTTER).await.unwrap();
        monitor.get().await.watches
    }
}

fn ago_us(seconds: u64) -> u64 {
    let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap());
    u64::try_from(now.saturating_sub(Duration::from_secs(seconds)).as_micros()).unwrap()
}

/// Places of a machine that has nothing but its buses.
pub(crate) fn bare(folder: &Path) -> [PathBuf; 3] {
    ["sys", "dev", "proc"].map(|name| {
        let path = folder.join(name);
        fs::create_dir_all(&path).unwrap();
        path
    })
}
