//! The words of commands about machines.

use std::path::PathBuf;

use clap::Args;

use crate::units::{parse_mib, parse_seconds};

#[derive(Debug, Args)]
pub struct Workers {
    /// Only those that are connected
    #[arg(long)]
    pub online: bool,
    /// Only one's own
    #[arg(long)]
    pub mine: bool,
}

#[derive(Debug, Args)]
pub struct Share {
    /// Only print the line that joins this or another machine
    #[arg(long)]
    pub print: bool,
    /// The machine's name [default: its host name]
    #[arg(long, short)]
    pub name: Option<String>,
    /// The most cores to offer [default: all]
    #[arg(long, short = 'c', value_name = "COUNT")]
    pub cores: Option<u32>,
    /// The most memory to offer [default: 80 %]
    #[arg(long, short = 'm', value_name = "SIZE", value_parser = parse_mib)]
    pub ram: Option<u32>,
    /// Of that memory, what is scratch space [default: a quarter]
    #[arg(long, value_name = "SIZE", value_parser = parse_mib)]
    pub disk: Option<u32>,
    /// What kind of machine it is, such as laptop; jobs find it by the label type/laptop
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// How long to share it, such as 8h [default: until Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_seconds)]
    pub period: Option<u32>,
    /// The worker's program [default: beside this one, or on the search path]
    #[arg(long, value_name = "PATH")]
    pub worker: Option<PathBuf>,
    /// Where the worker keeps its identity and results
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Approve {
    /// As the worker shows it on its own screen or in its log, such as ABCD-EFGH
    pub code: String,
}

#[derive(Debug, Args)]
pub struct Unshare {
    /// The machine's number or name, as campusgrid workers shows it
    #[arg(required = true, value_name = "MACHINE")]
    pub machines: Vec<String>,
}
