//! The cookie by which a browser shows that it has logged in to an account before. It opens nothing: it
//! only keeps its browser from being held up by what others try (see `throttle`).

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use campusgrid_protocol::id::UserId;

use super::throttle::Device;

/// In the data directory: 32 random bytes. Without it, browsers are strangers until they log in anew.
const KEY_FILE: &str = "device.key";

/// Separates these from everything else that is signed.
const CONTEXT: &[u8] = b"campusgrid device cookie v2";

/// How long a browser is known after its last login. Seconds: a year.
pub(super) const KEPT_S: u64 = 365 * 24 * 3600;

/// Devices of one account that are told apart; of more, some are one. Who logs in again and again,
/// each time as a new browser, does not get more tries, or lines to wait in, than these.
const OF_ACCOUNT_MAX: u8 = 64;

/// Signs the cookies. Cheap to clone.
#[derive(Clone)]
pub(super) struct DeviceKey([u8; 32]);

impl DeviceKey {
    /// Takes the key from the data directory, and makes one if there is none.
    ///
    /// # Errors
    ///
    /// If it can neither be read nor made.
    pub(super) fn open(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(KEY_FILE);
        let mut key = [0; 32];
        match File::open(&path) {
            Ok(mut file) => {
                if file.read_exact(&mut key).is_ok() {
                    return Ok(Self(key));
                }
                // Cut off by a crash: nothing is lost with it.
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let Self(key) = Self::fresh()?;
        let mut file =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(&key)?;
        Ok(Self(key))
    }

    /// A key that lasts as long as this process.
    ///
    /// # Errors
    ///
    /// If the machine has no random numbers to give.
    pub(super) fn fresh() -> io::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        Ok(Self(key))
    }

    /// What a browser is to keep that has logged in as this user: the device that it shows itself to
    /// be already, or a fresh one.
    ///
    /// # Errors
    ///
    /// If the machine has no random numbers to give.
    pub(super) fn sign(
        &self,
        user: UserId,
        known: Option<Device>,
    ) -> Result<String, getrandom::Error> {
        let device = match known {
            Some(device) => device,
            None => {
                let mut fresh = [0];
                getrandom::fill(&mut fresh)?;
                Device(fresh[0] % OF_ACCOUNT_MAX)
            }
        };
        Ok(format!("{}.{:02x}.{}", user.0, device.0, self.seal(user, device)))
    }

    /// The device that a cookie speaks of, if it was signed here for this user.
    pub(super) fn check(&self, cookie: &str, user: UserId) -> Option<Device> {
        let mut parts = cookie.split('.');
        let (of, number, seal) = (parts.next()?, parts.next()?, parts.next()?);
        let is_number = number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_hexdigit());
        if of != user.0.to_string() || !is_number || parts.next().is_some() {
            return None;
        }
        let device = Device(u8::from_str_radix(number, 16).ok()?);
        // Hashes are compared in constant time.
        let seal = blake3::Hash::from_hex(seal).ok()?;
        (seal == self.seal(user, device)).then_some(device)
    }

    fn seal(&self, user: UserId, device: Device) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(CONTEXT).update(&user.0.to_le_bytes()).update(&[device.0]);
        hasher.finalize()
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKey(…)") // A secret never reaches a log.
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt;

    use campusgrid_protocol::id::UserId;

    use super::{DeviceKey, KEY_FILE};

    #[test]
    fn a_cookie_is_good_for_the_user_that_it_was_made_for() {
        let key = DeviceKey::fresh().unwrap();
        let (ada, grace) = (UserId(7), UserId(8));
        let cookie = key.sign(ada, None).unwrap();
        let device = key.check(&cookie, ada).unwrap();
        assert_eq!(key.sign(ada, Some(device)).unwrap(), cookie, "the same browser stays so");
        let fresh: BTreeSet<String> = (0..2000).map(|_| key.sign(ada, None).unwrap()).collect();
        assert!(
            (2..=64).contains(&fresh.len()),
            "told apart, but not without end: {}",
            fresh.len()
        );
        assert_eq!(key.check(&cookie, grace), None);
        assert_eq!(key.check(&cookie.replacen("7.", "8.", 1), grace), None);
        assert_eq!(DeviceKey::fresh().unwrap().check(&cookie, ada), None);
        for other in [
            String::new(),
            "7".to_owned(),
            format!("{cookie}.0"),
            format!("0{cookie}"),
            cookie[..cookie.len() - 1].to_owned(),
            cookie.replacen("7.", "7.+", 1),
        ] {
            assert_eq!(key.check(&other, ada), None, "{other}");
        }
    }

    #[test]
    fn the_key_is_kept_and_is_nobody_elses_to_read() {
        let directory = tempfile::tempdir().unwrap();
        let cookie = DeviceKey::open(directory.path()).unwrap().sign(UserId(7), None).unwrap();
        let again = DeviceKey::open(directory.path()).unwrap();
        assert!(again.check(&cookie, UserId(7)).is_some());
        let path = directory.path().join(KEY_FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "cut").unwrap();
        let anew = DeviceKey::open(directory.path()).unwrap();
        assert!(anew.check(&cookie, UserId(7)).is_none());
    }
}
