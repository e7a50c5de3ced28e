//! What the jobs said, what they left, what each cost and earned, and whether all of it is right.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::client::{Client, state};
use crate::demo::Submitted;
use crate::demo::examples::Output;

/// Transfers asked for at once; a run makes a few.
const PAGE: u64 = 100;

/// Prints it all and yields what is not as it should be.
///
/// # Errors
///
/// When the API cannot be asked.
pub(super) fn show(user: &Client, owner: &Client, jobs: &[Submitted]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let transfers = owner.get(&format!("credits/transfers?limit={PAGE}"))?;
    println!("\n{:<18} {:<10} {:>9} {:>12} {:>12}", "Job", "State", "Ran", "Cost", "Earned");
    for job in jobs {
        let Some(detail) = &job.ended else { continue };
        let cost = detail["charged_micros"].as_i64().context("no charge")?;
        let earned = earned(&transfers, job.job);
        let ran = last_attempt(detail)["run_ms"].as_u64().unwrap_or(0);
        println!(
            "{:<18} {:<10} {:>6} ms {:>12} {:>12}",
            job.example.name,
            state(detail),
            ran,
            credits(cost),
            credits(earned)
        );
        if earned <= 0 || earned > cost {
            let (cost, earned) = (credits(cost), credits(earned));
            wrong.push(format!("{}: cost {cost} and earned {earned}", job.example.name));
        }
    }
    for job in jobs {
        show_result(user, job, &mut wrong)?;
    }
    Ok(wrong)
}

fn show_result(user: &Client, job: &Submitted, wrong: &mut Vec<String>) -> Result<()> {
    let Some(detail) = &job.ended else { return Ok(()) };
    let name = job.example.name;
    println!("\n{name} (job {}):", job.job);
    let said = user.get_text(&format!("jobs/{}/logs?task=0&stream=stdout", job.job))?;
    print_indented(&said);
    if state(detail) != "succeeded" {
        let outcome = last_attempt(detail)["outcome"].as_str().unwrap_or("no attempt").to_owned();
        wrong.push(format!("{name}: {}: {outcome}", state(detail)));
        print_indented(&user.get_text(&format!("jobs/{}/logs?task=0&stream=stderr", job.job))?);
        return Ok(());
    }
    if !(job.example.prints)(&said) {
        wrong.push(format!("{name}: its output is not what it should be"));
    }
    if let Some(Output { path, holds }) = &job.example.leaves {
        let text = user.get_text(&format!("jobs/{}/outputs/0/{path}", job.job))?;
        println!("    {path}: {}", text.trim());
        if !holds(&text) {
            wrong.push(format!("{name}: {path} does not hold what it should"));
        }
    }
    Ok(())
}

fn print_indented(text: &str) {
    for line in text.lines() {
        println!("    {line}");
    }
}

fn last_attempt(detail: &Value) -> &Value {
    let attempts = detail["task_list"][0]["attempts"].as_array();
    attempts.and_then(|all| all.last()).unwrap_or(&Value::Null)
}

/// What the transfers of `pay:JOB.TASK…` brought.
fn earned(transfers: &Value, job: u64) -> i64 {
    let mark = format!("pay:{job}");
    let items = transfers["items"].as_array().into_iter().flatten();
    items
        .filter(|transfer| {
            let rest = transfer["key"].as_str().and_then(|key| key.strip_prefix(&mark));
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
        })
        .filter_map(|transfer| transfer["amount_micros"].as_i64())
        .filter(|&amount| amount > 0)
        .sum()
}

/// Micro-credits as credits, exactly.
fn credits(micros: i64) -> String {
    let (sign, all) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    let text = format!("{sign}{}.{:06}", all / 1_000_000, all % 1_000_000);
    let short = text.trim_end_matches('0');
    short.trim_end_matches('.').to_owned()
}

/// What both users have.
pub(super) struct Balances {
    student: i64,
    owner: i64,
}

impl Balances {
    /// # Errors
    ///
    /// When the API cannot be asked.
    pub(super) fn ask(student: &Client, owner: &Client) -> Result<Self> {
        let balance = |user: &Client| -> Result<i64> {
            user.get("credits")?["balance_micros"].as_i64().context("no balance")
        };
        Ok(Self { student: balance(student)?, owner: balance(owner)? })
    }

    /// # Errors
    ///
    /// When the API cannot be asked.
    pub(super) fn show_change(
        &self,
        student: &Client,
        owner: &Client,
        student_name: &str,
        owner_name: &str,
    ) -> Result<()> {
        let after = Self::ask(student, owner)?;
        println!();
        let rows =
            [(student_name, self.student, after.student), (owner_name, self.owner, after.owner)];
        for (name, before, after) in rows {
            println!("{name:<18} had {:>11} credits, has {:>11}", credits(before), credits(after));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{credits, earned};

    #[test]
    fn credits_are_shown_exactly() {
        let shown: Vec<String> = [0, 1, -1, 7_000_000, 7_016_700, -100_500_000].map(credits).into();
        assert_eq!(shown, ["0", "0.000001", "-0.000001", "7", "7.0167", "-100.5"]);
    }

    #[test]
    fn only_payments_of_that_very_job_count() {
        let transfers = json!({ "items": [
            { "key": "pay:1.0", "amount_micros": 5 },
            { "key": "pay:12.0", "amount_micros": 70 },
            { "key": "refund:1.0", "amount_micros": 900 },
        ] });
        assert_eq!(earned(&transfers, 1), 5);
    }
}
