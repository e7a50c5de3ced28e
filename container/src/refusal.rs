//! What no engine should be bothered with.

use std::path::Path;

use campusgrid_protocol::text::{check_path, check_pattern};
use campusgrid_sandbox::plan::{Network, Plan};

use crate::builder::is_builder;
use crate::error::EngineError;
use crate::image::Image;
use crate::wire::FRAME_BYTES_MAX;

/// Looks at a plan before anything is made for it.
///
/// # Errors
///
/// `Plan`.
pub(crate) fn check(plan: &Plan) -> Result<(), EngineError> {
    let refuse = |reason: String| Err(EngineError::Plan { reason });
    let limits = plan.limits;
    let least = [limits.ram_mib, limits.scratch_mib, limits.scratch_files, limits.processes];
    // The kernel takes no quota below 1 ms in 100.
    if limits.cpu_millis < 10 || least.contains(&0) {
        return refuse("a limit leaves nothing to run in".to_owned());
    }
    if !(1..=100).contains(&limits.core_percent) {
        return refuse(format!("{} per cent of a core cannot be granted", limits.core_percent));
    }
    if is_builder(plan) && plan.family.is_some() {
        let reason = "what reaches the network or changes the machine is shared with nobody";
        return refuse(reason.to_owned());
    }
    if plan.steps.is_empty() || plan.steps.iter().any(|step| step.argv.is_empty()) {
        return refuse("it has a step without a command, or no step".to_owned());
    }
    if let Some((path, _)) = plan.files.iter().find(|(path, _)| check_path(path).is_err()) {
        return refuse(format!("{path:?} cannot be a file of the task"));
    }
    let restored = plan.checkpoints.iter().flat_map(|checkpoints| &checkpoints.restore);
    if let Some(file) = restored.into_iter().find(|file| check_path(&file.path).is_err()) {
        return refuse(format!("{:?} cannot be a file to go on from", file.path));
    }
    for (name, target) in &plan.links {
        let is_name = check_path(name).is_ok() && !name.contains('/');
        if !is_name || target.to_str().is_none_or(|target| target.contains('\0')) {
            return refuse(format!("{name:?} cannot be a link of the task"));
        }
    }
    if let Some(pattern) = plan.outputs.iter().find(|pattern| check_pattern(pattern).is_err()) {
        return refuse(format!("{pattern:?} cannot be a pattern of outputs"));
    }
    let is_name = |name: &str| !name.is_empty() && !name.contains('=');
    if !plan.environment.iter().all(|(name, _)| is_name(name)) {
        return refuse("a variable has a name that cannot be".to_owned());
    }
    let arguments = plan.steps.iter().flat_map(|step| &step.argv);
    let variables = plan.environment.iter().flat_map(|(name, value)| [name, value]);
    let mut bytes = 0;
    for text in arguments.chain(variables) {
        bytes += text.len();
        if text.contains('\0') {
            return refuse("an argument or a variable has a NUL in it".to_owned());
        }
    }
    // JSON can make six bytes of one; the rest of the order is small beside it.
    if bytes > FRAME_BYTES_MAX / 8 {
        return refuse(format!("arguments and variables of {bytes} bytes are too long"));
    }
    let shown = plan.read_only.iter().chain(&plan.read_write);
    let shown = shown.flat_map(|(host, inside)| [host, inside]);
    let is_plain = |path: &Path| path.is_absolute() && path.to_str().is_some();
    if let Some(path) = shown.chain(&plan.devices).find(|path| !is_plain(path)) {
        return refuse(format!("{} cannot be shown to the task", path.display()));
    }
    Ok(())
}

/// Refuses to let what is in an image have the network, if the owner does not know what that is: our
/// own tools start the image's Python, and whatever else the image has put in their way.
///
/// # Errors
///
/// `Image`.
pub(crate) fn check_image(plan: &Plan, image: &Image) -> Result<(), EngineError> {
    if plan.network == Network::None || image.is_trusted {
        return Ok(());
    }
    let message = format!(
        "packages are not installed for the image {}, since its Python would have the machine's \
         network, and the machine's owner allows it only by the beginning of its name; an image \
         that has the packages in it runs here",
        image.id
    );
    Err(EngineError::Image { message })
}
