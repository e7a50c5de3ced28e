//! The part of the table that browsers ask for: pages and their forms.

use super::super::pages;
use super::Access::{Anyone, Operate, Own, Person, Read, Submit};
use super::{Route, get, post};

/// Every page.
pub(super) fn all() -> Vec<Route> {
    [accounts(), jobs(), market(), workers()].into_iter().flatten().collect()
}

fn accounts() -> Vec<Route> {
    vec![
        get("/register", Anyone, pages::account::register_form),
        post("/register", Anyone, pages::account::register),
        get("/login", Anyone, pages::account::login_form),
        post("/login", Anyone, pages::account::log_in),
        post("/logout", Person, pages::account::log_out),
        get("/account", Person, pages::settings::account),
        post("/account/password", Person, pages::settings::change_password),
        post("/account/sessions/close", Person, pages::settings::close_all_sessions),
        post("/account/sessions/{id}/close", Person, pages::settings::close_session),
        post("/account/tokens", Person, pages::settings::open_token),
        post("/account/tokens/{id}/revoke", Person, pages::settings::close_token),
        post("/account/webhook-secret", Person, pages::settings::new_webhook_secret),
        post("/account/verify", Person, pages::verify::send_again),
        get("/verify", Anyone, pages::verify::verify_form),
        post("/verify", Anyone, pages::verify::verify),
        get("/users", Operate, pages::users::users),
        post("/users/{id}/role", Operate, pages::users::change_role),
        post("/users/invitations", Operate, pages::users::invite),
        post("/users/invitations/{id}/revoke", Operate, pages::users::revoke),
        get("/leaderboard", Read, pages::standing::leaderboard),
        get("/credits", Read, pages::standing::credits),
    ]
}

fn jobs() -> Vec<Route> {
    vec![
        get("/", Read, pages::overview::overview),
        get("/submit", Read, pages::submit::empty_form),
        post("/submit", Submit, pages::submit::submit),
        post("/submit/draft", Submit, pages::submit::save_draft),
        post("/submit/quote", Read, pages::submit::quote::quote),
        get("/jobs", Read, pages::jobs::jobs),
        post("/jobs/cancel", Submit, pages::jobs::cancel_all),
        get("/jobs/{id}", Read, pages::job::job),
        post("/jobs/{id}/accept", Submit, pages::job::actions::accept),
        post("/jobs/{id}/cancel", Submit, pages::job::actions::cancel),
        post("/jobs/{id}/change", Submit, pages::job::actions::change),
        post("/jobs/{id}/delete", Submit, pages::job::actions::delete),
        get("/jobs/{id}/files", Read, pages::files::files),
        post("/jobs/{id}/files", Submit, pages::draft::add_files),
        post("/jobs/{id}/files/remove", Submit, pages::draft::remove_file),
        post("/jobs/{id}/launch", Submit, pages::draft::launch),
        post("/jobs/{id}/retry", Submit, pages::job::actions::retry),
    ]
}

fn market() -> Vec<Route> {
    use pages::market::{bidding, bids, mine, open_jobs, prices};
    vec![
        get("/market", Read, open_jobs),
        get("/market/bids", Read, bids::bids),
        get("/market/mine", Read, mine),
        get("/market/prices", Read, prices::prices),
        get("/market/jobs/{id}", Read, bidding::job),
        post("/market/jobs/{id}/bid", Own, bidding::bid),
        post("/market/jobs/{id}/withdraw", Own, bidding::withdraw),
        get("/earnings", Read, pages::earnings::earnings),
    ]
}

fn workers() -> Vec<Route> {
    vec![
        get("/workers", Read, pages::workers::workers),
        get("/workers/add", Read, pages::add_worker::add_form),
        post("/workers/add", Own, pages::add_worker::add),
        post("/workers/tokens/{id}/revoke", Own, pages::add_worker::revoke),
        get("/workers/approve", Read, pages::workers::approve_form),
        post("/workers/approve", Own, pages::workers::approve),
        get("/workers/{id}", Read, pages::machine::machine),
        post("/workers/{id}/ask", Own, pages::machine::change_ask),
        post("/workers/{id}/by-hand", Own, pages::machine::hand::by_hand),
        post("/workers/{id}/rules", Own, pages::machine::change_rules),
        post("/workers/{id}/withdraw", Own, pages::machine::hand::withdraw),
        post("/workers/{id}/remove", Own, pages::workers::remove),
        post("/workers/{id}/release", Own, pages::workers::release),
    ]
}
