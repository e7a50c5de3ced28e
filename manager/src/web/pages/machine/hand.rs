//! What an owner says by hand: pause, share, follow the rules again, offer it no longer.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use campusgrid_core::time::Timestamp;
use campusgrid_protocol::id::WorkerId;
use campusgrid_protocol::rest::rules::SetByHand;
use campusgrid_protocol::rules::{ByHand, Conditions, Rules, Wish};

use super::refused;
use crate::web::Site;
use crate::web::error::WebError;
use crate::web::extract::Named;
use crate::web::pages::PageError;
use crate::web::pages::form::{Fields, SignedForm, moments};
use crate::web::words::Moment;
use crate::web::workers::hand_over::PAUSED;
use crate::web::workers::read_worker;
use crate::web::workers::rules::{set_by_hand, set_rules};

const HOUR_S: u32 = 3600;

/// What was said by hand, and what else can be.
pub(super) struct ByHandView {
    /// What holds; empty if nothing was said.
    pub(super) words: &'static str,
    /// Until when, if not for ever.
    pub(super) until: Option<Moment>,
    pub(super) buttons: Vec<Button>,
    /// Whether it is offered no longer.
    pub(super) withdrawn: bool,
}

/// One that says something by hand.
pub(super) struct Button {
    pub(super) wish: &'static str,
    pub(super) until: &'static str,
    pub(super) words: &'static str,
}

impl ByHandView {
    pub(super) fn new(rules: &Rules, now: Timestamp) -> Self {
        let holds = |hand: &ByHand| hand.until_ms.is_none_or(|until| until > now.0);
        let hand = rules.by_hand.filter(holds);
        let words = match hand.map(|hand| hand.wish) {
            Some(Wish::Pause) => "Paused by hand",
            Some(Wish::Share) => "Shared by hand, whatever its rules say",
            None => "",
        };
        Self {
            words,
            until: hand.and_then(|hand| hand.until_ms).map(|until| Moment::new(until, now)),
            buttons: buttons(hand.map(|hand| hand.wish)),
            withdrawn: rules.when.until_ms.is_some_and(|until| until <= now.0),
        }
    }
}

fn buttons(said: Option<Wish>) -> Vec<Button> {
    let button = |wish, until, words| Button { wish, until, words };
    let mut buttons = Vec::new();
    if said.is_some() {
        buttons.push(button("resume", "", "Follow the rules again"));
    }
    if said != Some(Wish::Share) {
        buttons.push(button("share", "", "Share now"));
    }
    buttons.push(button("pause", "hour", "Pause for an hour"));
    buttons.push(button("pause", "tomorrow", "Pause until tomorrow"));
    if said != Some(Wish::Pause) {
        buttons.push(button("pause", "", "Pause"));
    }
    buttons
}

/// Rules by which a machine is offered no longer, or again. No longer is also a pause, or a wish to share
/// would keep it open.
fn offered(rules: Rules, fields: &Fields, now: Timestamp) -> Rules {
    let (until_ms, by_hand) = match fields.text("again") {
        "" => (Some(now.0), Some(PAUSED)),
        _ => (None, None),
    };
    Rules { when: Conditions { until_ms, ..rules.when }, by_hand, ..rules }
}

/// `POST /workers/{id}/by-hand`.
pub(in crate::web) async fn by_hand(
    State(site): State<Site>,
    Named(worker): Named<WorkerId>,
    SignedForm { visitor, fields }: SignedForm,
) -> Result<Response, PageError> {
    let wish = said(&fields, site.clock.now());
    match set_by_hand(&site, &visitor.login, worker, wish).await {
        Ok(_) => {
            let done = match fields.text("wish") {
                "pause" => "pause",
                "share" => "share",
                _ => "resume",
            };
            Ok(Redirect::to(&format!("/workers/{worker}?done={done}")).into_response())
        }
        Err(error) => refused(&site, visitor, worker, (None, None), error).await,
    }
}

/// `POST /workers/{id}/withdraw`: it is offered no longer, or again.
pub(in crate::web) async fn withdraw(
    State(site): State<Site>,
    Named(worker): Named<WorkerId>,
    SignedForm { visitor, fields }: SignedForm,
) -> Result<Response, PageError> {
    let present = read_worker(&site, &visitor.login, worker)?.rules;
    let present = present.ok_or(WebError::NotFound)?;
    let rules = offered(present, &fields, site.clock.now());
    let done = if rules.when.until_ms.is_some() { "withdrawn" } else { "offered" };
    match set_rules(&site, &visitor.login, worker, rules).await {
        Ok(_) => Ok(Redirect::to(&format!("/workers/{worker}?done={done}")).into_response()),
        Err(error) => refused(&site, visitor, worker, (None, None), error).await,
    }
}

/// What a button says; nothing for one that takes back what was said.
fn said(fields: &Fields, now: Timestamp) -> Option<SetByHand> {
    let wish = match fields.text("wish") {
        "pause" => Wish::Pause,
        "share" => Wish::Share,
        _ => return None,
    };
    let (for_s, until_ms) = match fields.text("until") {
        "hour" => (Some(HOUR_S), None),
        "tomorrow" => (None, moments::midnight(now.0, fields.text("zone_minutes"))),
        _ => (None, None),
    };
    Some(SetByHand { wish, for_s, until_ms })
}

#[cfg(test)]
mod tests {
    use campusgrid_core::time::Timestamp;
    use campusgrid_protocol::rules::{ByHand, Rules, Wish};

    use super::{ByHandView, Fields, PAUSED, offered, said};

    #[test]
    fn what_was_said_by_hand_ends() {
        let rules =
            |wish, until_ms| Rules { by_hand: Some(ByHand { wish, until_ms }), ..Rules::default() };
        let shown = |rules: &Rules| {
            let view = ByHandView::new(rules, Timestamp(1000));
            let buttons: Vec<&str> = view.buttons.iter().map(|button| button.wish).collect();
            format!("{}: {}", view.words, buttons.join(" "))
        };
        let usual = ": share pause pause pause";
        assert_eq!(shown(&Rules::default()), usual);
        assert_eq!(shown(&rules(Wish::Pause, Some(1000))), usual);
        let paused = "Paused by hand: resume share pause pause";
        assert_eq!(shown(&rules(Wish::Pause, Some(1001))), paused);
        assert_eq!(shown(&rules(Wish::Pause, None)), paused);
        let shared = "Shared by hand, whatever its rules say: resume pause pause pause";
        assert_eq!(shown(&rules(Wish::Share, None)), shared);
    }

    #[test]
    fn what_is_offered_no_longer_is_paused_as_well() {
        let share = Some(ByHand { wish: Wish::Share, until_ms: None });
        let rules = Rules { by_hand: share, ..Rules::default() };
        let mut fields = Fields::default();
        let withdrawn = offered(rules, &fields, Timestamp(1000));
        assert_eq!((withdrawn.when.until_ms, withdrawn.by_hand), (Some(1000), Some(PAUSED)));
        fields.set("again", "yes");
        assert_eq!(offered(withdrawn, &fields, Timestamp(2000)), Rules::default());
    }

    #[test]
    fn buttons_say_what_they_show() {
        let now = Timestamp(1_800_000_000_000); // 08:00 in UTC.
        let said = |wish: &str, until: &str| {
            let mut fields = Fields::default();
            for (name, text) in [("wish", wish), ("until", until), ("zone_minutes", "60")] {
                fields.set(name, text);
            }
            said(&fields, now).map(|said| (said.wish, said.for_s, said.until_ms))
        };
        assert_eq!(said("resume", ""), None);
        assert_eq!(said("share", ""), Some((Wish::Share, None, None)));
        assert_eq!(said("pause", "hour"), Some((Wish::Pause, Some(3600), None)));
        let midnight = now.0 + 15 * 3_600_000;
        assert_eq!(said("pause", "tomorrow"), Some((Wish::Pause, None, Some(midnight))));
    }
}
