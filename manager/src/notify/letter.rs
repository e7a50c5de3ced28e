//! What is said of jobs in mails and webhooks.

use campusgrid_core::effect::NoticeKind;
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::rest::notify::{Notice, NoticeData};
use campusgrid_protocol::text::is_hidden;

use crate::store::read::StoredNotice;
use crate::web::PublicUrl;

/// Notices in one mail; of more only the number is said.
const LINES_MAX: usize = 50;

/// A mail's subject and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) subject: String,
    pub(super) text: String,
}

/// Where a job is to be seen, if the manager knows its own address.
fn url(notice: &StoredNotice, home: Option<&PublicUrl>) -> Option<String> {
    home.map(|home| format!("{home}/jobs/{}", notice.job))
}

/// The body of a webhook.
pub(super) fn body(notice: &StoredNotice, home: Option<&PublicUrl>) -> Notice {
    let kind = match notice.kind {
        NoticeKind::Started => "job.started",
        NoticeKind::Failed => "job.failed",
        NoticeKind::Ended => "job.ended",
    };
    Notice {
        r#type: kind.to_owned(),
        timestamp: moment(notice.at).to_string(),
        data: NoticeData {
            job: notice.job.0,
            name: notice.name.clone(),
            tasks: notice.tasks,
            succeeded: notice.succeeded,
            failed: notice.failed,
            cancelled: notice.cancelled,
            url: url(notice, home),
        },
    }
}

/// One mail about at least one notice.
pub(super) fn letter(notices: &[StoredNotice], home: Option<&PublicUrl>) -> Letter {
    match notices {
        [only] => about_one(only, home),
        _ => about_many(notices, home),
    }
}

fn about_one(notice: &StoredNotice, home: Option<&PublicUrl>) -> Letter {
    let StoredNotice { tasks, succeeded, failed, cancelled, .. } = notice;
    let counts = if *tasks == 1 {
        String::new()
    } else {
        let rest = tasks.saturating_sub(*succeeded).saturating_sub(*failed);
        let rest = rest.saturating_sub(*cancelled);
        let lines = [("succeeded", *succeeded), ("failed", *failed), ("cancelled", *cancelled)];
        let lines: String =
            lines.iter().map(|(word, count)| format!("  {word:<12}{count:>9}\n")).collect();
        let under_way =
            if rest > 0 { format!("  {:<12}{rest:>9}\n", "not over") } else { String::new() };
        format!("\n{lines}{under_way}  {:<12}{tasks:>9}\n", "of all")
    };
    let place = match url(notice, home) {
        Some(url) => format!("{url}\n"),
        None => format!("You find it as job {} in the dashboard.\n", notice.job),
    };
    let (name, said, at) = (name(notice), said(notice), in_words(notice.at));
    Letter {
        subject: format!("Job {} ({name}) {said}", notice.job),
        text: format!(
            "Your job {} ({name}) {said}.\n{counts}\nThat was at {at}.\n\n{place}{FOOT}",
            notice.job
        ),
    }
}

fn about_many(notices: &[StoredNotice], home: Option<&PublicUrl>) -> Letter {
    let mut text = String::from("What has become of your jobs:\n\n");
    for notice in notices.iter().take(LINES_MAX) {
        let (name, said, at) = (name(notice), said(notice), in_words(notice.at));
        text.push_str(&format!("  Job {} ({name}) {said}, {at}\n", notice.job));
        text.push_str(&url(notice, home).map(|url| format!("    {url}\n")).unwrap_or_default());
    }
    if let Some(more) = notices.len().checked_sub(LINES_MAX).filter(|more| *more > 0) {
        text.push_str(&format!("\nand {more} more.\n"));
    }
    text.push_str(FOOT);
    Letter { subject: format!("{} notices about your jobs", notices.len()), text }
}

/// Behind a line that mail programs know as the end of what was said (RFC 3676). Short lines, which stay
/// whole when something in the mail has to be encoded.
const FOOT: &str = "\n-- \nCampusGrid writes to you because a job of the account with this address\n\
                    asked for it. If that account is not yours, tell whoever runs this grid.\n";

/// A mail with the link by which somebody shows that an address is theirs.
pub(super) fn of_link(name: &str, token: &str, home: Option<&PublicUrl>) -> Letter {
    let what_to_do = match home {
        Some(home) => format!("open this within 24 hours:\n\n{home}/verify?token={token}\n"),
        None => format!(
            "open the page /verify of the dashboard within 24 hours, and enter:\n\n{token}\n"
        ),
    };
    Letter {
        subject: "Is this address yours?".to_owned(),
        text: format!(
            "The account {name} of a CampusGrid was opened with this address. To show that it is\n\
             yours, {what_to_do}{LINK_FOOT}"
        ),
    }
}

const LINK_FOOT: &str = "\n-- \nIf you know nothing of such an account, do nothing: the link is good for\n\
                         nothing else.\n";

/// Whoever has named a job may have meant a header, or to hide something from its reader.
fn name(notice: &StoredNotice) -> String {
    notice.name.chars().filter(|c| !is_hidden(*c) && !c.is_control()).take(100).collect()
}

fn said(notice: &StoredNotice) -> String {
    let StoredNotice { kind, tasks, succeeded, failed, .. } = notice;
    match kind {
        NoticeKind::Started => "has started".to_owned(),
        NoticeKind::Failed if *tasks == 1 => "has failed".to_owned(),
        NoticeKind::Failed => "has a task that failed".to_owned(),
        NoticeKind::Ended if succeeded == tasks => "has succeeded".to_owned(),
        NoticeKind::Ended if *tasks == 1 && *failed == 1 => "has failed".to_owned(),
        NoticeKind::Ended if *tasks == 1 => "was cancelled".to_owned(),
        NoticeKind::Ended if *failed > 0 => format!("is over: {failed} of {tasks} tasks failed"),
        NoticeKind::Ended => format!("is over: {succeeded} of {tasks} tasks succeeded"),
    }
}

fn moment(at: Timestamp) -> jiff::Timestamp {
    let at = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.unwrap_or(jiff::Timestamp::MAX)
}

fn in_words(at: Timestamp) -> String {
    moment(at).strftime("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use campusgrid_core::effect::NoticeKind;
    use campusgrid_core::time::Timestamp;
    use campusgrid_protocol::id::{JobId, UserId};
    use expect_test::{Expect, expect};

    use super::{Letter, body, letter, of_link};
    use crate::store::read::{Channel, StoredNotice};

    pub(in crate::notify) fn notice(kind: NoticeKind, tasks: u32, failed: u32) -> StoredNotice {
        StoredNotice {
            id: 7,
            job: JobId(12),
            name: "sweep".to_owned(),
            owner: UserId(1),
            kind,
            at: Timestamp(1_700_000_000_000),
            tries: 0,
            channel: Channel::Mail { address: Some("ada@campus.edu".to_owned()) },
            tasks,
            succeeded: tasks - failed,
            failed,
            cancelled: 0,
        }
    }

    fn check(notices: &[StoredNotice], home: Option<&str>, expected: &Expect) {
        let home = home.map(|home| home.parse().unwrap());
        let letter = letter(notices, home.as_ref());
        expected.assert_eq(&format!("{}\n\n{}", letter.subject, letter.text));
    }

    #[test]
    fn a_mail_says_what_has_happened_and_where_to_look() {
        check(
            &[notice(NoticeKind::Ended, 100, 2)],
            Some("https://grid.campus"),
            &expect![[r#"
            Job 12 (sweep) is over: 2 of 100 tasks failed

            Your job 12 (sweep) is over: 2 of 100 tasks failed.

              succeeded          98
              failed              2
              cancelled           0
              of all            100

            That was at 2023-11-14 22:13 UTC.

            https://grid.campus/jobs/12

            -- 
            CampusGrid writes to you because a job of the account with this address
            asked for it. If that account is not yours, tell whoever runs this grid.
        "#]],
        );
        check(
            &[notice(NoticeKind::Started, 1, 0)],
            None,
            &expect![[r#"
            Job 12 (sweep) has started

            Your job 12 (sweep) has started.

            That was at 2023-11-14 22:13 UTC.

            You find it as job 12 in the dashboard.

            -- 
            CampusGrid writes to you because a job of the account with this address
            asked for it. If that account is not yours, tell whoever runs this grid.
        "#]],
        );
    }

    #[test]
    fn a_link_stands_alone_on_its_line() {
        let Letter { subject, text } =
            of_link("ada", "00ff", Some(&"https://grid.campus".parse().unwrap()));
        assert_eq!(subject, "Is this address yours?");
        assert!(text.lines().any(|line| line == "https://grid.campus/verify?token=00ff"), "{text}");
        let Letter { text, .. } = of_link("ada", "00ff", None);
        assert!(text.lines().any(|line| line == "00ff") && text.contains("/verify"), "{text}");
    }

    #[test]
    fn many_are_summed_up() {
        let mut notices = vec![notice(NoticeKind::Ended, 1, 1), notice(NoticeKind::Failed, 3, 1)];
        check(
            &notices,
            Some("https://grid.campus"),
            &expect![[r#"
            2 notices about your jobs

            What has become of your jobs:

              Job 12 (sweep) has failed, 2023-11-14 22:13 UTC
                https://grid.campus/jobs/12
              Job 12 (sweep) has a task that failed, 2023-11-14 22:13 UTC
                https://grid.campus/jobs/12

            -- 
            CampusGrid writes to you because a job of the account with this address
            asked for it. If that account is not yours, tell whoever runs this grid.
        "#]],
        );
        notices.resize_with(300, || notice(NoticeKind::Ended, 1, 0));
        let letter = letter(&notices, None);
        assert_eq!(letter.subject, "300 notices about your jobs");
        assert!(letter.text.contains("\nand 250 more.\n"), "{}", letter.text);
    }

    #[test]
    fn a_name_is_a_name() {
        let mut sly = notice(NoticeKind::Started, 1, 0);
        sly.name = "a\r\nBcc: all@campus.edu\r\n\r\nbuy\u{202e}!".to_owned();
        let letter = letter(&[sly], None);
        assert_eq!(letter.subject, "Job 12 (aBcc: all@campus.edubuy!) has started");
    }

    #[test]
    fn a_webhook_says_it_in_json() {
        let home = "https://grid.campus".parse().unwrap();
        let body = body(&notice(NoticeKind::Failed, 100, 2), Some(&home));
        expect![[r#"
            {
              "type": "job.failed",
              "timestamp": "2023-11-14T22:13:20Z",
              "data": {
                "job": 12,
                "name": "sweep",
                "tasks": 100,
                "succeeded": 98,
                "failed": 2,
                "cancelled": 0,
                "url": "https://grid.campus/jobs/12"
              }
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&body).unwrap());
    }
}
