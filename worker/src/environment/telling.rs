//! How far an installation has come, in words, from what uv says of it line by line.

/// What is known so far.
#[derive(Debug)]
pub(super) struct Telling {
    /// Those of the lock; once uv has looked, those that this machine needs of them.
    packages: usize,
    /// Large files by name and tenths of MiB, and whether they are here; uv says nothing of small
    /// ones.
    downloads: Vec<(String, u64, bool)>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Looking,
    Downloading,
    Linking,
}

/// uv names one for each large wheel.
const DOWNLOADS_MAX: usize = 1000;

impl Telling {
    pub(super) fn new(packages: usize) -> Self {
        Self { packages, downloads: Vec::new(), phase: Phase::Looking }
    }

    /// Takes in a line; yields whether there is something new to tell.
    pub(super) fn hear(&mut self, line: &str) -> bool {
        let words: Vec<&str> = line.split_whitespace().collect();
        match *words.as_slice() {
            ["Resolved", number, "package" | "packages", ..] => {
                self.packages = number.parse().unwrap_or(self.packages);
                self.phase = Phase::Downloading;
            }
            ["Downloading", name, size] if self.downloads.len() < DOWNLOADS_MAX => {
                let Some(tenths) = tenths_of_mib(size) else { return false };
                self.downloads.push((name.to_owned(), tenths, false));
            }
            ["Downloaded", name] => {
                let Some(download) = self.downloads.iter_mut().find(|(of, ..)| of == name) else {
                    return false;
                };
                download.2 = true;
            }
            ["Prepared", ..] => self.phase = Phase::Linking,
            _ => return false,
        }
        true
    }

    /// Packages that this machine needs, as far as that is known.
    pub(super) fn packages(&self) -> String {
        packages(self.packages)
    }

    /// For the job page.
    pub(super) fn words(&self) -> String {
        let installing = format!("installing {}", packages(self.packages));
        let whole = |here: bool| -> u64 {
            let counts = self.downloads.iter().filter(|(.., is_here)| *is_here || !here);
            counts.map(|(_, tenths, _)| tenths).sum()
        };
        let (all, here) = (whole(false), whole(true));
        match self.phase {
            Phase::Linking if all > 0 => {
                format!("{installing}: {} MiB downloaded", all.div_ceil(10))
            }
            Phase::Looking | Phase::Linking => installing,
            Phase::Downloading if all > 0 => {
                let left = self.downloads.iter().filter(|(.., is_here)| !is_here);
                let left: Vec<&str> = left.map(|(name, ..)| name.as_str()).take(3).collect();
                let of = format!("{} of {} MiB downloaded", here / 10, all.div_ceil(10));
                match left.as_slice() {
                    [] => format!("{installing}: {of}"),
                    left => format!("{installing}: {of}, waiting for {}", left.join(", ")),
                }
            }
            Phase::Downloading => installing,
        }
    }
}

/// A number of packages in words.
pub(super) fn packages(number: usize) -> String {
    format!("{number} package{}", if number == 1 { "" } else { "s" })
}

/// Of a size such as `(16.1MiB)`.
fn tenths_of_mib(size: &str) -> Option<u64> {
    let size = size.strip_prefix('(')?.strip_suffix(')')?;
    let (number, tenths_of_unit) = match (size.strip_suffix("MiB"), size.strip_suffix("GiB")) {
        (Some(number), _) => (number, 10),
        (None, Some(number)) => (number, 10 * 1024),
        (None, None) => return Some(0), // In KiB: large by uv's measure, and nothing in ours.
    };
    let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
    let in_tenths = whole.parse::<u64>().ok()?.checked_mul(10)? + tenth.parse::<u64>().ok()?.min(9);
    in_tenths.checked_mul(tenths_of_unit).map(|scaled| scaled / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_is_told_in_phases_and_amounts() {
        let mut telling = Telling::new(9);
        let mut told = vec![telling.words()];
        for line in [
            "Using Python 3.11.2 environment at: env1",
            "Resolved 7 packages in 82ms",
            "Downloading scikit-learn (8.9MiB)",
            "Downloading numpy (16.1MiB)",
            " Downloaded scikit-learn",
            " Downloaded numpy",
            "Prepared 7 packages in 1.27s",
            "Installed 7 packages in 32ms",
            " + numpy==2.4.6",
        ] {
            if telling.hear(line) {
                told.push(telling.words());
            }
        }
        expect_test::expect![[r#"
            installing 9 packages
            installing 7 packages
            installing 7 packages: 0 of 9 MiB downloaded, waiting for scikit-learn
            installing 7 packages: 0 of 25 MiB downloaded, waiting for scikit-learn, numpy
            installing 7 packages: 8 of 25 MiB downloaded, waiting for numpy
            installing 7 packages: 25 of 25 MiB downloaded
            installing 7 packages: 25 MiB downloaded"#]]
        .assert_eq(&told.join("\n"));
    }

    #[test]
    fn sizes_are_read_as_uv_writes_them() {
        let check = |size: &str| tenths_of_mib(size);
        assert_eq!(check("(1.2GiB)"), Some(12_288));
        assert_eq!(check("(16MiB)"), Some(160));
        assert_eq!(check("(900.0KiB)"), Some(0));
        assert_eq!((check("16.1MiB"), check("(x.1MiB)")), (None, None));
    }
}
