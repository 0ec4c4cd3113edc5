//! What an answer of a module means, and what a call that failed is worth: functions of what was seen.

use super::renewal::Cause;
use crate::protocol::Fault;
use crate::vault::condition::is_throttled;
use crate::vault::turn::{is_locked, is_not_found};

/// The error that a module gives for whatever went wrong.
const GENERAL: &str = "GetSecretInvalidOperation";

/// The worker's own refusals: nothing was called.
const OWN_IDS: [&str; 7] = [
    "BadCall",
    "NoRememberedPassword",
    "ProtocolMismatch",
    "SecretManagementMissing",
    "SetSecretMetadataCommandNotSupported",
    "ValueNotRepresentable",
    "ValueTypeNotSupported",
];

/// What came of a call that reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModuleAnswer {
    /// What was asked for.
    Reply,
    /// There is no such secret, and the module says nothing beside that.
    Missing,
    /// The worker refused it; the module was not called.
    NotCalled,
    /// The vault asks its callers to wait, so it is not even probed.
    Throttled,
    /// The module's general error.
    General,
    /// Another error, or a reply that was none.
    Failed,
}

/// What was seen before an answer, in the same verb.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnswerContext {
    /// The vault was unlocked, or its login renewed, because of an answer before.
    pub renewed: bool,
    /// It is the first answer, and this module's first read in a worker may fail with the general error by mistake.
    pub may_fail_once: bool,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerJudgement {
    /// It is so. A renewal before it has helped.
    Believe,
    /// It is an error, whatever was done before.
    Fail,
    /// It is an error, and the renewal before it was in vain.
    InVain,
    /// The same is asked once more.
    Again,
    /// It is asked once more if the vault could be unlocked, or its login renewed.
    Renew,
}

/// What is known of a vault whose call has failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct FailedCall {
    /// Why it may need an unlock or a login.
    pub cause: Cause,
    /// The error is that there is no such secret.
    pub not_found: bool,
    /// The last renewal for this cause was not in vain, or is long ago.
    pub may_renew: bool,
    /// There is a password that may be used.
    pub may_unlock: bool,
}

/// What is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing: its error stands.
    Nothing,
    /// It is unlocked.
    Unlock,
    /// What logged in when the worker started runs again.
    LogIn,
}

impl AnswerJudgement {
    /// Whether a renewal before the answer has helped; `None` where the answer does not tell.
    pub(super) fn tells_of_renewal(self) -> Option<bool> {
        match self {
            AnswerJudgement::Believe => Some(true),
            AnswerJudgement::InVain => Some(false),
            AnswerJudgement::Fail | AnswerJudgement::Again | AnswerJudgement::Renew => None,
        }
    }
}

impl ModuleAnswer {
    pub(super) fn of(fault: &Fault) -> ModuleAnswer {
        match fault {
            fault if is_not_found(fault) && !fault.warned => ModuleAnswer::Missing,
            fault if is_own(fault) => ModuleAnswer::NotCalled,
            fault if is_throttled(fault) => ModuleAnswer::Throttled,
            fault if fault.id == GENERAL => ModuleAnswer::General,
            _ => ModuleAnswer::Failed,
        }
    }
}

/// What becomes of an answer.
pub(super) fn answer(answer: ModuleAnswer, context: AnswerContext) -> AnswerJudgement {
    match answer {
        ModuleAnswer::Reply | ModuleAnswer::Missing => AnswerJudgement::Believe,
        ModuleAnswer::NotCalled | ModuleAnswer::Throttled => AnswerJudgement::Fail,
        ModuleAnswer::General if context.may_fail_once => AnswerJudgement::Again,
        ModuleAnswer::General | ModuleAnswer::Failed if context.renewed => AnswerJudgement::InVain,
        ModuleAnswer::General | ModuleAnswer::Failed => AnswerJudgement::Renew,
    }
}

/// What is done about a vault whose call has failed.
pub(super) fn remedy(call: FailedCall) -> Remedy {
    let believed = call.not_found && call.cause == Cause::Suspected;
    match call.may_unlock {
        _ if believed || !call.may_renew => Remedy::Nothing,
        true => Remedy::Unlock,
        false => Remedy::LogIn,
    }
}

/// Whether it is the worker's own refusal, before anything was called.
pub(super) fn is_own(fault: &Fault) -> bool {
    OWN_IDS.contains(&fault.id.as_str())
}

/// Whether an error says, by its kinds and categories, that somebody has to unlock or log in.
pub(super) fn needs_login(fault: &Fault) -> bool {
    let says = |text: &str| {
        ["Authentication", "Unauthorized", "CredentialUnavailable"].iter().any(|word| text.contains(word))
    };
    is_locked(fault)
        || says(&fault.id)
        || says(&fault.kind)
        || fault.category == "AuthenticationError"
        || fault.inner.iter().any(|inner| says(&inner.kind))
        || fault.more.iter().any(needs_login)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(id: &str) -> Fault {
        Fault { id: id.into(), ..Fault::default() }
    }

    #[test]
    fn an_answer_is_known_by_what_it_says() {
        let throttled = Fault { status: Some(429), ..fault(GENERAL) };
        let warned = Fault { warned: true, ..fault("GetSecretNotFound") };
        for (fault, expected) in [
            (fault("GetSecretNotFound"), ModuleAnswer::Missing),
            (warned, ModuleAnswer::Failed),
            (fault("ValueNotRepresentable"), ModuleAnswer::NotCalled),
            (throttled, ModuleAnswer::Throttled),
            (fault(GENERAL), ModuleAnswer::General),
            (fault("Other"), ModuleAnswer::Failed),
        ] {
            assert_eq!(ModuleAnswer::of(&fault), expected, "{fault:?}");
        }
    }

    #[test]
    fn every_answer_has_its_meaning() {
        use AnswerJudgement::{Again, Believe, Fail, InVain, Renew};
        let context = |renewed, may_fail_once| AnswerContext { renewed, may_fail_once };
        // At first; at first where the first read may fail; after a renewal.
        let contexts = [context(false, false), context(false, true), context(true, false)];
        for (came, expected) in [
            (ModuleAnswer::Reply, [Believe; 3]),
            (ModuleAnswer::Missing, [Believe; 3]),
            (ModuleAnswer::NotCalled, [Fail; 3]),
            (ModuleAnswer::Throttled, [Fail; 3]),
            (ModuleAnswer::General, [Renew, Again, InVain]),
            (ModuleAnswer::Failed, [Renew, Renew, InVain]),
        ] {
            assert_eq!(contexts.map(|context| answer(came, context)), expected, "{came:?}");
        }
    }

    #[test]
    fn a_vault_whose_call_has_failed_is_unlocked_or_logged_in_where_that_may_help() {
        use Cause::{Locked, Suspected};
        for (cause, not_found, may_renew, expected) in [
            (Locked, false, true, [Remedy::Unlock, Remedy::LogIn]),
            (Suspected, false, true, [Remedy::Unlock, Remedy::LogIn]),
            (Locked, true, true, [Remedy::Unlock, Remedy::LogIn]),
            (Suspected, true, true, [Remedy::Nothing, Remedy::Nothing]),
            (Locked, false, false, [Remedy::Nothing, Remedy::Nothing]),
            (Suspected, false, false, [Remedy::Nothing, Remedy::Nothing]),
        ] {
            let found = [true, false]
                .map(|may_unlock| remedy(FailedCall { cause, not_found, may_renew, may_unlock }));
            assert_eq!(found, expected, "{cause:?}, {not_found}, {may_renew}");
        }
    }

    #[test]
    fn a_reply_shows_that_a_renewal_has_helped_and_a_second_failure_that_it_was_in_vain() {
        use AnswerJudgement::{Again, Believe, Fail, InVain, Renew};
        for (judgement, helped) in
            [(Believe, Some(true)), (InVain, Some(false)), (Fail, None), (Again, None), (Renew, None)]
        {
            assert_eq!(judgement.tells_of_renewal(), helped, "{judgement:?}");
        }
    }
}
