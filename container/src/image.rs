//! Which images there are, which the owner allows, and what a job's image is.

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{CreateImageOptions, ListImagesOptions};
use campusgrid_protocol::text::{DEFAULT_IMAGE, check_image};
use futures_util::StreamExt;

use crate::error::EngineError;

/// How the engine knows the default image.
pub const DEFAULT_TAG: &str = "campusgrid/default:latest";

/// What labels of images begin with.
const LABEL: &str = "image:";

/// What the owner lets jobs run in, beside the default image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagePolicy {
    /// Names with or without tags or digests, or IDs; one that ends with `*` stands for all that
    /// begin so. Names as the engine lists them.
    pub allowed: Vec<String>,
    /// Whether images that are allowed and not there may be fetched from their registries.
    pub pull: bool,
}

/// An image that may be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// `sha256:…`.
    pub(crate) id: String,
    pub(crate) volumes: Vec<String>,
    /// Names of the variables that it would set.
    pub(crate) variables: Vec<String>,
    /// Whether the owner has named this very one, or it is the default: what is in it may have the
    /// network, as it has when our own tools use its Python.
    pub(crate) is_trusted: bool,
}

impl ImagePolicy {
    /// Whether the owner has named exactly this.
    fn names(&self, name: &str) -> bool {
        !name.ends_with('*') && self.allowed.iter().any(|pattern| pattern == name)
    }

    fn allows(&self, name: &str) -> bool {
        self.allowed.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == pattern,
        })
    }
}

/// The labels that a worker with these images offers, sorted.
///
/// # Errors
///
/// `Gone` or `Refused`.
pub(crate) async fn labels(
    docker: &Docker,
    policy: &ImagePolicy,
) -> Result<Vec<String>, EngineError> {
    let listed = docker.list_images(None::<ListImagesOptions>).await;
    let listed = listed.map_err(|error| EngineError::from_answer("list its images", error))?;
    let mut labels = Vec::new();
    for image in listed {
        if image.repo_tags.iter().any(|tag| is_default(tag)) {
            labels.push(format!("{LABEL}{DEFAULT_IMAGE}"));
        }
        let is_digest = |name: &&String| check_image(name).is_ok();
        let by_content: Vec<&String> =
            image.repo_digests.iter().chain([&image.id]).filter(is_digest).collect();
        // An owner who allows a tag allows what it stands for on this machine now.
        let is_allowed = by_content.iter().any(|name| policy.allows(name))
            || image.repo_tags.iter().any(|tag| policy.allows(tag));
        if is_allowed {
            labels.extend(by_content.into_iter().map(|name| format!("{LABEL}{name}")));
        }
    }
    if policy.pull {
        let prefixes = policy.allowed.iter().filter(|pattern| pattern.ends_with('*'));
        labels.extend(prefixes.map(|pattern| format!("{LABEL}{pattern}")));
    }
    labels.sort_unstable();
    labels.dedup();
    Ok(labels)
}

/// Whether a tag is the default image's: Podman puts a place before names that have none.
fn is_default(tag: &str) -> bool {
    let name = tag.strip_prefix("localhost/").or_else(|| tag.strip_prefix("docker.io/"));
    name.unwrap_or(tag) == DEFAULT_TAG
}

/// Finds a job's image, and fetches it where that is allowed.
///
/// # Errors
///
/// `Image` if it is not allowed or not to be had, `Pull` if its registry does not answer, `Gone` or
/// `Refused`.
pub(crate) async fn find(
    docker: &Docker,
    policy: &ImagePolicy,
    image: &str,
) -> Result<Image, EngineError> {
    let wrong = |message: String| EngineError::Image { message };
    check_image(image).map_err(|error| wrong(format!("\"{image}\" {error}")))?;
    let name = if image == DEFAULT_IMAGE { DEFAULT_TAG } else { image };
    let may_pull = policy.pull && image.contains('@') && policy.allows(image);
    let found = match inspect(docker, name).await? {
        None if may_pull => {
            pull(docker, image).await?;
            inspect(docker, name).await?
        }
        found => found,
    };
    let Some(found) = found else {
        return Err(wrong(format!("\"{image}\" is not on this machine")));
    };
    let names: Vec<&String> = found.names.iter().chain([&found.image.id]).collect();
    let is_default = image == DEFAULT_IMAGE;
    let is_content =
        is_default || names.iter().any(|name| *name == image || has_digest(name, image));
    let is_allowed =
        is_default || policy.allows(image) || names.iter().any(|name| policy.allows(name));
    if !is_content {
        return Err(wrong(format!("\"{image}\" is something else on this machine")));
    }
    if !is_allowed {
        return Err(wrong(format!("the machine's owner does not allow \"{image}\"")));
    }
    let is_trusted =
        is_default || policy.names(image) || names.iter().any(|name| policy.names(name));
    Ok(Image { is_trusted, ..found.image })
}

/// Whether both are of one content: engines shorten the names before it.
fn has_digest(name: &str, image: &str) -> bool {
    let digest = |name: &str| name.rsplit_once('@').map(|(_, digest)| digest.to_owned());
    digest(image).is_some() && digest(name) == digest(image)
}

struct Found {
    image: Image,
    /// Tags and digests.
    names: Vec<String>,
}

async fn inspect(docker: &Docker, name: &str) -> Result<Option<Found>, EngineError> {
    let inspected = match docker.inspect_image(name).await {
        Ok(inspected) => inspected,
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => return Ok(None),
        Err(error) => return Err(EngineError::from_answer("look at an image", error)),
    };
    let id = inspected.id.filter(|id| !id.is_empty()).map(|id| match id.contains(':') {
        true => id,
        false => format!("sha256:{id}"), // Podman leaves it out.
    });
    let Some(id) = id else { return Ok(None) };
    let config = inspected.config.unwrap_or_default();
    let volumes = config.volumes.unwrap_or_default();
    if let Some(volume) = volumes.iter().find(|volume| !is_plain(volume)) {
        let message = format!("it has a volume at \"{}\"", volume.escape_debug());
        return Err(EngineError::Image { message });
    }
    let variables = config.env.unwrap_or_default();
    let variables = variables.iter().map(|line| line.split('=').next().unwrap_or(line).to_owned());
    let mut names = inspected.repo_tags.unwrap_or_default();
    names.extend(inspected.repo_digests.unwrap_or_default());
    let image = Image { id, volumes, variables: variables.collect(), is_trusted: false };
    Ok(Some(Found { image, names }))
}

/// A path where something can be mounted without covering what is ours.
fn is_plain(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    path.starts_with('/')
        && parts.iter().all(|part| !part.is_empty() && *part != "." && *part != "..")
        && !["proc", "sys", "dev", ".campusgrid"].contains(&parts.first().copied().unwrap_or(""))
}

/// An image of our own by its tag.
///
/// # Errors
///
/// `Gone` or `Refused`.
pub(crate) async fn tagged(docker: &Docker, tag: &str) -> Result<Option<Image>, EngineError> {
    Ok(inspect(docker, tag).await?.map(|found| found.image))
}

async fn pull(docker: &Docker, image: &str) -> Result<(), EngineError> {
    let options = CreateImageOptions { from_image: Some(image.to_owned()), ..Default::default() };
    let mut pulled = Box::pin(docker.create_image(Some(options), None, None));
    while let Some(step) = pulled.next().await {
        let Err(error) = step else { continue };
        let image = image.to_owned();
        if let Error::DockerResponseServerError { status_code: 400 | 403 | 404, message } = error {
            let message = format!("\"{image}\" cannot be fetched: {message}");
            return Err(EngineError::Image { message });
        }
        if let Error::DockerResponseServerError { message, .. }
        | Error::DockerStreamError { error: message } = error
        {
            return Err(EngineError::Pull { image, message });
        }
        return Err(EngineError::from_answer("fetch an image", error));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_allow_names_and_beginnings_of_names() {
        let allowed = ["python@*", "sha256:aa", "lab/tools:3"].map(str::to_owned).to_vec();
        let policy = ImagePolicy { allowed, pull: false };
        for name in ["python@sha256:bb", "sha256:aa", "lab/tools:3"] {
            assert!(policy.allows(name), "{name}");
        }
        for name in ["python:3", "sha256:ab", "lab/tools:31", "evil/python@sha256:bb"] {
            assert!(!policy.allows(name), "{name}");
        }
        assert!(policy.names("sha256:aa") && !policy.names("python@sha256:bb"));
        assert!(!policy.names("python@*"));
    }

    #[test]
    fn only_whole_digests_are_equal() {
        assert!(has_digest("python@sha256:aa", "docker.io/library/python@sha256:aa"));
        assert!(!has_digest("python@sha256:aa", "python@sha256:ab"));
        assert!(!has_digest("python:3", "sha256:aa"));
    }

    #[test]
    fn volumes_must_not_cover_what_is_ours() {
        for path in ["/data", "/var/lib/postgresql/data"] {
            assert!(is_plain(path), "{path}");
        }
        for path in ["", "/", "data", "/a/../b", "/proc/x", "/.campusgrid", "/dev/shm", "//"] {
            assert!(!is_plain(path), "{path}");
        }
    }
}
