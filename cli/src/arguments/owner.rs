//! The words of commands by which owners say when and how much of a machine is shared.

use std::str::FromStr;

use campusgrid_protocol::rules::{Kind, Power, Whose};
use clap::Args;

use super::market::Switch;
use crate::units::{parse_mib, parse_seconds};
use crate::week::Hours;

/// A machine's rules. Those that are not named stay as they are; without any, they are shown.
#[derive(Debug, Args)]
pub struct Rules {
    /// One's own, by its number or name
    pub machine: String,
    #[command(flatten)]
    pub when: When,
    #[command(flatten)]
    pub limits: Limits,
}

/// When it is shared: all of these must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "When it is shared")]
pub struct When {
    /// Whether it is shared at all
    #[arg(long, value_name = "YES|NO")]
    pub shared: Option<Switch>,
    /// Only when nobody has used it for so long; 0 for whether or not
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    pub idle: Option<u32>,
    /// Only in these hours: 'mon-fri 20:00-07:00, sat,sun 00:00-24:00', or always
    #[arg(long, value_name = "HOURS")]
    pub hours: Option<Hours>,
    /// By the clock of this time zone, such as Europe/Berlin; "" for the machine's own
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    /// Only on the mains, or above so many per cent of its battery: any, mains, 80
    #[arg(long, value_name = "POWER", value_parser = parse_power)]
    pub power: Option<Power>,
    /// Also on a network that is paid by volume
    #[arg(long, value_name = "YES|NO")]
    pub metered: Option<Switch>,
    /// Not while one of these programs runs: zoom,steam; "" for whatever runs
    #[arg(long, value_name = "NAME,…")]
    pub programs: Option<Names>,
    /// Not while others than tasks use more than so many per cent of all cores
    #[arg(long, value_name = "PERCENT")]
    pub load: Option<u8>,
    /// Not while the processor is hotter than this; 0 for whatever
    #[arg(long, value_name = "DEGREES")]
    pub temperature: Option<u8>,
    /// Only until then: +8h, "2026-11-24 18:00", RFC 3339; never for without end
    #[arg(long, value_name = "MOMENT")]
    pub until: Option<String>,
    /// How long tasks stand still, when it is no longer shared, before they are handed back
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    pub grace: Option<u32>,
    /// How long a task that is handed back has to save what it wants to go on from
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    pub checkpoint: Option<u32>,
}

/// How much of it is shared, and with whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "How much of it")]
pub struct Limits {
    #[arg(long, value_name = "COUNT|all")]
    pub cores: Option<Most>,
    /// Of each core that a task has, 10 to 100
    #[arg(long, value_name = "PERCENT")]
    pub core_percent: Option<u8>,
    #[arg(long, value_name = "SIZE|all", value_parser = most_mib)]
    pub ram: Option<Most>,
    #[arg(long, value_name = "SIZE|all", value_parser = most_mib)]
    pub disk: Option<Most>,
    #[arg(long, value_name = "COUNT|all")]
    pub gpus: Option<Most>,
    /// For files, in each direction. KiB per second
    #[arg(long, value_name = "KIB|all")]
    pub network: Option<Most>,
    /// Tasks that may run at once
    #[arg(long, value_name = "COUNT|all")]
    pub at_once: Option<Most>,
    /// The longest time limit of a task
    #[arg(long, value_name = "TIME|all", value_parser = most_seconds)]
    pub longest: Option<Most>,
    /// Whose jobs it runs: everyone, mine, or names: ada,bob
    #[arg(long, value_name = "WHOSE", value_parser = parse_whose)]
    pub whose: Option<Whose>,
    /// Which kinds of jobs it runs: all, or some of python,c,shell,container
    #[arg(long, value_name = "KIND,…")]
    pub kinds: Option<Kinds>,
}

impl Rules {
    /// Whether nothing is to be changed.
    pub fn is_question(&self) -> bool {
        self.when == When::default() && self.limits == Limits::default()
    }
}

/// The most of something; none for all that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most(pub Option<u32>);

impl FromStr for Most {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        most(text, |text| text.parse().map_err(|_| format!("{text:?} is no number, and not all")))
    }
}

fn most(text: &str, read: impl Fn(&str) -> Result<u32, String>) -> Result<Most, String> {
    if text == "all" { Ok(Most(None)) } else { Ok(Most(Some(read(text)?))) }
}

fn most_mib(text: &str) -> Result<Most, String> {
    most(text, parse_mib)
}

fn most_seconds(text: &str) -> Result<Most, String> {
    most(text, parse_seconds)
}

/// Names with commas between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl FromStr for Names {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        Ok(Self(names.map(str::to_owned).collect()))
    }
}

/// Kinds of jobs; none for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kinds(pub Vec<Kind>);

impl FromStr for Kinds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self(Vec::new()));
        }
        let kind = |text: &str| match text.trim() {
            "python" => Ok(Kind::Python),
            "c" => Ok(Kind::C),
            "shell" => Ok(Kind::Shell),
            "container" => Ok(Kind::Container),
            other => Err(format!("{other:?} is none of python, c, shell and container")),
        };
        text.split(',').map(kind).collect::<Result<_, _>>().map(Self)
    }
}

fn parse_power(text: &str) -> Result<Power, String> {
    let percent = text.strip_suffix('%').unwrap_or(text);
    match (text, percent.parse()) {
        ("any", _) => Ok(Power::Any),
        ("mains", _) => Ok(Power::Mains),
        (_, Ok(percent)) => Ok(Power::Above(percent)),
        (_, Err(_)) => Err(format!("{text:?} is not any, mains or per cent such as 80")),
    }
}

fn parse_whose(text: &str) -> Result<Whose, String> {
    match text {
        "everyone" => Ok(Whose::Everyone),
        "mine" => Ok(Whose::Mine),
        names => {
            let Ok(Names(names)) = names.parse();
            if names.is_empty() {
                return Err("it names nobody: everyone, mine, or names".to_owned());
            }
            Ok(Whose::Of(names))
        }
    }
}

#[derive(Debug, Args)]
pub struct Pause {
    /// One's own, by its number or name
    pub machine: String,
    /// For so long (1h30m), until a moment (18:00, tomorrow, RFC 3339) [default: until campusgrid resume]
    #[arg(value_name = "TIME")]
    pub time: Option<String>,
}

#[derive(Debug, Args)]
pub struct Resume {
    /// One's own, by its number or name
    pub machine: String,
    /// Share it for so long, whatever its own conditions say; those of the policy file on it hold
    #[arg(long = "share", value_name = "TIME")]
    pub share: Option<String>,
}

#[derive(Debug, Args)]
pub struct Earnings {
    /// What this one was paid for; one's own, by its number or name [default: a line for each]
    pub machine: Option<String>,
    /// How many payments at most
    #[arg(long, short = 'n', default_value_t = 20, value_name = "COUNT", requires = "machine")]
    pub limit: u32,
}

#[cfg(test)]
mod tests {
    use campusgrid_protocol::rules::{Kind, Power, Whose};

    use super::{Kinds, Most, Names, most_mib, parse_power, parse_whose};

    #[test]
    fn limits_are_numbers_or_all() {
        assert_eq!("4".parse(), Ok(Most(Some(4))));
        assert_eq!("all".parse(), Ok(Most(None)));
        assert_eq!(most_mib("2G"), Ok(Most(Some(2048))));
        assert!("some".parse::<Most>().is_err() && most_mib("lots").is_err());
    }

    #[test]
    fn words_stand_for_what_they_say() {
        assert_eq!(parse_power("80%"), Ok(Power::Above(80)));
        assert_eq!(parse_power("mains"), Ok(Power::Mains));
        assert!(parse_power("solar").is_err() && parse_power("300").is_err());
        assert_eq!(parse_whose("mine"), Ok(Whose::Mine));
        let both = vec!["ada".to_owned(), "bob".to_owned()];
        assert_eq!(parse_whose("ada, bob"), Ok(Whose::Of(both.clone())));
        assert!(parse_whose(" ,").is_err());
        assert_eq!("ada,bob".parse(), Ok(Names(both)));
        assert_eq!("".parse(), Ok(Names(Vec::new())));
        assert_eq!("c,container".parse(), Ok(Kinds(vec![Kind::C, Kind::Container])));
        assert_eq!("all".parse(), Ok(Kinds(Vec::new())));
        assert!("rust".parse::<Kinds>().is_err());
    }
}
