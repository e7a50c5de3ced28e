//! The ways that requests go.

use crate::effect::{Effects, Reply};
use crate::grid::Grid;
use crate::input::{Request, Ticket};

impl Grid {
    /// The reply, unless it comes later.
    pub(crate) fn on_request(
        &mut self,
        ticket: Ticket,
        request: Request,
        effects: &mut Effects,
    ) -> Option<Reply> {
        Some(match request {
            Request::Register(registration) => self.on_register(registration, effects),
            Request::OpenLogin(login) => self.on_open_login(login, effects),
            Request::CloseLogin { token_hash } => Self::on_close_login(token_hash, effects),
            Request::RevokeLogin { user, login } => Self::on_revoke_login(user, login, effects),
            Request::RevokeLogins { user, but } => Self::on_revoke_logins(user, but, effects),
            Request::ChangePassword { user, password_hash, but } => {
                self.on_change_password(user, password_hash, but, effects)
            }
            Request::Rehash { user, from, to } => Self::on_rehash(user, from, to, effects),
            Request::OpenApiToken(token) => self.on_open_api_token(token, effects),
            Request::RevokeApiToken { user, token } => {
                Self::on_revoke_api_token(user, token, effects)
            }
            Request::Used { logins, tokens } => Self::on_used(logins, tokens, effects),
            Request::SetRole { by, user, role } => self.on_set_role(by, user, role, effects),
            Request::MakeVoucher(wish) => self.on_make_voucher(wish, effects),
            Request::RevokeVoucher { user, voucher } => {
                self.on_revoke_voucher(user, voucher, effects)
            }
            Request::Submit(submission) => self.on_submit(*submission, effects),
            Request::Draft(draft) => self.on_draft(draft, effects),
            Request::PutFiles { user, job, files } => self.on_put_files(user, job, files, effects),
            Request::RemoveFile { user, job, path } => {
                self.on_remove_file(user, job, path, effects)
            }
            Request::DiscardDraft { user, job } => self.on_discard_draft(user, job, effects),
            Request::Cancel { user, job, tasks } => self.on_cancel(user, job, tasks, effects),
            Request::CancelAll { user } => self.on_cancel_all(user, effects),
            Request::SetHold { user, job, on_hold } => {
                self.on_set_hold(user, job, on_hold, effects)
            }
            Request::SetPriority { user, job, priority } => {
                self.on_set_priority(user, job, priority, effects)
            }
            Request::EmptyJobs { jobs } => self.on_empty_jobs(jobs, effects),
            Request::NoticesTried { tried } => self.on_notices_tried(tried, effects),
            Request::SetWebhookSecret { user, secret } => {
                self.on_set_webhook_secret(user, secret, effects)
            }
            Request::Enrol(enrolment) => return self.on_enrol(ticket, enrolment, effects),
            Request::ApproveWorker { user, code } => self.on_approve(user, &code, effects),
            Request::RemoveWorker { user, worker } => self.on_remove_worker(user, worker, effects),
            Request::ReleaseWorker { user, worker } => {
                self.on_release_worker(user, worker, effects)
            }
            Request::SetRules { user, worker, rules } => {
                self.on_set_rules(user, worker, *rules, effects)
            }
            Request::SetAsk { user, worker, ask } => self.on_set_ask(user, worker, ask, effects),
            Request::Bid { user, job, worker, price, start_within_s } => {
                self.on_bid(user, job, (worker, price, start_within_s), effects)
            }
            Request::WithdrawBid { user, job, worker } => {
                self.on_withdraw_bid(user, job, worker, effects)
            }
            Request::Accept { user, job, worker, price } => {
                self.on_accept(user, job, (worker, price), effects)
            }
            Request::Verify { user, identity } => self.on_verify(user, identity, effects),
        })
    }
}
