//! Why a worker ends by itself and must not be started again before a person has looked, in words.

use std::path::Path;

use campusgrid_identity::machine::WrongFingerprint;

/// The reasons. Results in the spool stay with each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Another manager answers at this address than the one that the machine has joined.
    OtherManager { manager: String, wrong: WrongFingerprint },
    /// Another manager answers at this address than the one that the token is of.
    NotOfToken { manager: String, wrong: WrongFingerprint },
    /// The token is of another manager than the one that the machine has joined.
    OtherToken { wrong: WrongFingerprint },
    /// The manager does not take the token.
    TokenRefused { reason: String },
    /// The manager does not want this worker any more.
    Dismissed { reason: String },
}

impl Stop {
    /// What happened and what to do, for a worker whose data are in `data_dir`.
    pub fn words(&self, data_dir: &Path) -> String {
        let data = quoted(data_dir);
        let forget = format!("campusgrid-worker forget --data-dir {data}");
        match self {
            Self::OtherManager { manager, wrong } => format!(
                "somebody else answers at {manager} than the manager that this machine knows; nothing \
                 was sent there\n\
                 \x20 expected fingerprint: {}\n\
                 \x20 seen fingerprint:     {}\n\
                 Either the manager was set up anew, or somebody passes for it. Ask its operator for its \
                 fingerprint (\"Workers\" in the dashboard).\n\
                 If the one that was seen is right: {forget}, and then join anew with a token from the \
                 dashboard, by the whole line that it shows\n\
                 If it is not: do not use this network, and tell the operator.\n\
                 Results that wait to be sent stay in {data}/spool",
                wrong.expected.grouped(),
                wrong.seen.grouped(),
            ),
            Self::NotOfToken { manager, wrong } => format!(
                "the manager that this token is of does not answer at {manager}, but another one; the \
                 token was not sent there\n\
                 \x20 token's fingerprint: {}\n\
                 \x20 seen fingerprint:    {}\n\
                 Check the manager's address, and copy the whole line anew from the dashboard's \
                 \"Workers\" page. If both are right, somebody passes for the manager: do not use this \
                 network, and tell its operator",
                wrong.expected.grouped(),
                wrong.seen.grouped(),
            ),
            Self::OtherToken { wrong } => format!(
                "this token is of another manager than the one that this machine has joined; nothing was \
                 sent\n\
                 \x20 joined: {}\n\
                 \x20 token:  {}\n\
                 To leave the one for the other: {forget}, and then start it again with the token",
                wrong.expected.grouped(),
                wrong.seen.grouped(),
            ),
            Self::TokenRefused { reason } => format!(
                "the manager does not take this token: {}\n\
                 Make a new one on the dashboard's \"Workers\" page, and start again by the whole line that \
                 it shows; or without a token, to be let in by a code",
                plain(reason),
            ),
            Self::Dismissed { reason } => format!(
                "the manager does not want this worker any more: {}\n\
                 If it was removed and is to come back: {forget}, and then start it as at first, by the \
                 line that the dashboard's \"Workers\" page shows, or without a token, to be let in by \
                 a code\n\
                 Results that wait to be sent stay in {data}/spool",
                plain(reason),
            ),
        }
    }
}

/// As a shell takes it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if path.chars().all(is_plain) { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

/// The manager's words, which must not play tricks on a terminal.
fn plain(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(500).collect()
}

#[cfg(test)]
mod tests {
    use campusgrid_identity::fingerprint::Fingerprint;

    use super::*;

    #[test]
    fn what_happened_and_what_to_do_is_said() {
        let wrong =
            WrongFingerprint { expected: Fingerprint([0xab; 32]), seen: Fingerprint([0xcd; 32]) };
        let stop = Stop::OtherManager { manager: "grid.example:9999".to_owned(), wrong };
        expect_test::expect![[r#"
            somebody else answers at grid.example:9999 than the manager that this machine knows; nothing was sent there
              expected fingerprint: abab abab abab abab abab abab abab abab abab abab abab abab abab abab abab abab
              seen fingerprint:     cdcd cdcd cdcd cdcd cdcd cdcd cdcd cdcd cdcd cdcd cdcd cdcd cdcd cdcd cdcd cdcd
            Either the manager was set up anew, or somebody passes for it. Ask its operator for its fingerprint ("Workers" in the dashboard).
            If the one that was seen is right: campusgrid-worker forget --data-dir '/home/ada'\''s/worker', and then join anew with a token from the dashboard, by the whole line that it shows
            If it is not: do not use this network, and tell the operator.
            Results that wait to be sent stay in '/home/ada'\''s/worker'/spool"#]].assert_eq(&stop.words(Path::new("/home/ada's/worker")));
    }

    #[test]
    fn the_managers_words_cannot_move_the_cursor() {
        let reason = "removed\x1b[2J".to_owned();
        let words = Stop::Dismissed { reason }.words(Path::new("/data"));
        assert!(words.contains("any more: removed[2J\n") && !words.contains('\x1b'), "{words}");
    }
}
