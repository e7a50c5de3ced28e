//! A plan as the helper gets it.

use campusgrid_sandbox::plan::{Plan, Restored};
use campusgrid_sandbox::walk::given;

use crate::event::{Afterwards, OUTPUTS, Order};

/// What the helper is told of a plan; the contents of its files follow.
pub(super) fn order(plan: &Plan) -> Order {
    let length = |(path, content): &(String, Vec<u8>)| (path.clone(), content.len() as u64);
    let is_outputs = |(name, value): &(String, String)| name == "OUTPUT_DIR" && value == OUTPUTS;
    Order {
        files: plan.files.iter().map(length).collect(),
        links: plan.links.clone(),
        restored: plan.checkpoints.as_ref().map(|_| {
            let restored = restored(plan);
            restored.map(|file| (file.path.clone(), file.size_bytes)).collect()
        }),
        steps: plan.steps.iter().map(|step| step.argv.clone()).collect(),
        environment: plan.environment.clone(),
        has_outputs: plan.environment.iter().any(is_outputs),
        afterwards: match (&plan.family, plan.shared_tmp) {
            (None, _) => Afterwards::Nothing,
            (Some(_), false) => Afterwards::Remove,
            (Some(_), true) => Afterwards::RemoveButTmp,
        },
        file_bytes: crate::walls::file_bytes(plan),
        outputs: plan.limits.outputs,
        outputs_bytes: plan.limits.outputs_bytes,
        patterns: plan.outputs.clone(),
        given: given(plan),
    }
}

/// The files that a task goes on from.
pub(super) fn restored(plan: &Plan) -> impl Iterator<Item = &Restored> {
    plan.checkpoints.iter().flat_map(|checkpoints| &checkpoints.restore)
}
