//! The words of commands about the market: jobs that take bids, bids, prices.

use clap::{Args, ValueEnum};

use crate::units::{parse_credits, parse_seconds};

#[derive(Debug, Args)]
pub struct Market {
    /// Only jobs that one of one's own machines could run
    #[arg(long)]
    pub fits: bool,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 20, value_name = "COUNT")]
    pub limit: u32,
}

#[derive(Debug, Args)]
pub struct Bids {
    /// Those on this job [default: those of one's own machines]
    pub job: Option<u64>,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 20, value_name = "COUNT", conflicts_with = "job")]
    pub limit: u32,
}

#[derive(Debug, Args)]
pub struct Bid {
    pub job: u64,
    /// One's own, by its number or name
    pub machine: String,
    /// Credits, for the job's whole time limit
    #[arg(value_parser = parse_credits, allow_negative_numbers = true)]
    pub price: i64,
    /// How soon after it is accepted the machine will have started
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_seconds)]
    pub start_within: u32,
}

#[derive(Debug, Args)]
pub struct Withdraw {
    pub job: u64,
    /// One's own, by its number or name
    pub machine: String,
}

#[derive(Debug, Args)]
pub struct Accept {
    pub job: u64,
    /// That has bid, by its number or name
    pub machine: String,
    /// Only if it still asks for so many credits [default: what it asks for now]
    #[arg(long, value_name = "CREDITS", value_parser = parse_credits)]
    pub price: Option<i64>,
}

#[derive(Debug, Args)]
pub struct Prices {
    /// How many hours back
    #[arg(long, default_value_t = 24, value_name = "HOURS")]
    pub hours: u32,
}

/// A machine's standing price. The first price of one's own is made of the terms that are named, and of
/// nothing else; of one that has its own, those that are not named stay.
#[derive(Debug, Args)]
pub struct Ask {
    /// One's own, by its number or name
    pub machine: String,
    /// Ask for what the grid's formula says, as at first
    #[arg(long, conflicts_with = "terms")]
    pub formula: bool,
    #[command(flatten)]
    pub terms: Terms,
    /// Bid with it on all jobs that the machine could run
    #[arg(long, value_name = "ON|OFF")]
    pub automatic: Option<Switch>,
}

/// Parts of a price, in credits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
#[group(id = "terms", multiple = true)]
pub struct Terms {
    /// For each run, whatever it is
    #[arg(long, value_name = "CREDITS", value_parser = parse_credits)]
    pub start: Option<i64>,
    /// For each core, however long it runs
    #[arg(long, value_name = "CREDITS", value_parser = parse_credits)]
    pub core: Option<i64>,
    /// For each GiB of memory, however long it runs
    #[arg(long, value_name = "CREDITS", value_parser = parse_credits)]
    pub gib: Option<i64>,
    /// For each GPU, however long it runs
    #[arg(long, value_name = "CREDITS", value_parser = parse_credits)]
    pub gpu: Option<i64>,
    /// For each minute, whatever it runs on
    #[arg(long, value_name = "CREDITS", value_parser = parse_credits)]
    pub minute: Option<i64>,
    /// For each minute of each core
    #[arg(long, value_name = "CREDITS", value_parser = parse_credits)]
    pub core_minute: Option<i64>,
    /// For each minute of each GiB of memory
    #[arg(long, value_name = "CREDITS", value_parser = parse_credits)]
    pub gib_minute: Option<i64>,
    /// For each minute of each GPU
    #[arg(long, value_name = "CREDITS", value_parser = parse_credits)]
    pub gpu_minute: Option<i64>,
    /// At least, for each run
    #[arg(long, value_name = "CREDITS", value_parser = parse_credits)]
    pub minimum: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    #[value(alias = "yes")]
    On,
    #[value(alias = "no")]
    Off,
}

impl Switch {
    pub fn is_on(self) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
        }
    }
}
