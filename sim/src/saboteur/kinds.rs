//! What kinds of changes there are, by name: any of them may be forgotten.

use campusgrid_core::effect::Change;

/// The name of a change's kind.
pub(super) fn kind(change: &Change) -> &'static str {
    match change {
        Change::UserRegistered { .. } => "UserRegistered",
        Change::LoginOpened { .. } => "LoginOpened",
        Change::LoginClosed { .. } => "LoginClosed",
        Change::LoginRevoked { .. } => "LoginRevoked",
        Change::LoginsRevoked { .. } => "LoginsRevoked",
        Change::LoginsOver { .. } => "LoginsOver",
        Change::PasswordChanged { .. } => "PasswordChanged",
        Change::PasswordRehashed { .. } => "PasswordRehashed",
        Change::ApiTokenOpened { .. } => "ApiTokenOpened",
        Change::ApiTokenRevoked { .. } => "ApiTokenRevoked",
        Change::Used { .. } => "Used",
        Change::RoleSet { .. } => "RoleSet",
        Change::VoucherMade(_) => "VoucherMade",
        Change::VoucherUsed { .. } => "VoucherUsed",
        Change::VoucherOver { .. } => "VoucherOver",
        Change::Account { .. } => "Account",
        Change::Transferred(_) => "Transferred",
        Change::JobSubmitted(_) => "JobSubmitted",
        Change::SubmitKeyKept { .. } => "SubmitKeyKept",
        Change::SubmitKeyForgotten { .. } => "SubmitKeyForgotten",
        Change::TaskLeased { .. } => "TaskLeased",
        Change::JobLocked { .. } => "JobLocked",
        Change::AttemptStarted { .. } => "AttemptStarted",
        Change::TaskCancelling { .. } => "TaskCancelling",
        Change::JobCancelling { .. } => "JobCancelling",
        Change::TaskRequeued { .. } => "TaskRequeued",
        Change::TaskEnded(_) => "TaskEnded",
        Change::UntouchedCancelled { .. } => "UntouchedCancelled",
        Change::JobEnded { .. } => "JobEnded",
        Change::WorkerApproved { .. } => "WorkerApproved",
        Change::WorkerRenamed { .. } => "WorkerRenamed",
        Change::WorkerSetAside { .. } => "WorkerSetAside",
        Change::WorkerRemoved { .. } => "WorkerRemoved",
    }
}
