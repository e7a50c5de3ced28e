//! GPUs by a recording, on a made-up machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use expect_test::{Expect, expect};
use tempfile::TempDir;

use super::meter::Meter;
use super::recording::Recording;
use super::*;

const LAPTOP: &str = include_str!("recordings/laptop.json");
const SPECIFICATION: &str = include_str!("recordings/nvidia.yaml");
/// Place of the GPU that is busy when first asked.
const BUSY: u16 = 1;
const FREE_UUID: &str = "GPU-8f3d2c1a-5b6e-4f70-9a81-0c1d2e3f4a5b";
const BUSY_UUID: &str = "GPU-11111111-2222-3333-4444-555555555555";

/// A machine with device nodes, and a driver beneath `lib` as its packages leave it.
struct Machine {
    root: TempDir,
    recording: Arc<Recording>,
}

impl Machine {
    fn new(recording: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in ["dev", "lib", "cdi"] {
            fs::create_dir(root.path().join(directory)).unwrap();
        }
        let machine = Self { root, recording: Arc::new(Recording::read(recording)) };
        for node in [
            "nvidiactl",
            "nvidia-uvm",
            "nvidia-uvm-tools",
            "nvidia-modeset",
            "nvidia0",
            "nvidia1",
            "nvidia2",
        ] {
            machine.link("/dev/null", &format!("dev/{node}"));
        }
        for library in ["libcuda", "libnvidia-ml"] {
            let real = format!("{library}.so.550.54.15");
            fs::write(machine.path(&format!("lib/{real}")), "").unwrap();
            machine.link(&real, &format!("lib/{library}.so.1"));
        }
        fs::write(machine.path("lib/libother.so.1"), "").unwrap();
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn link(&self, target: &str, link: &str) {
        symlink(target, self.path(link)).unwrap();
    }

    fn gpus(&self) -> (Gpus, Vec<Check>) {
        let places = Places {
            dev: self.path("dev"),
            cdi: vec![self.path("cdi")],
            libraries: vec![self.path("nothing"), self.path("lib")],
        };
        Gpus::behind(Arc::clone(&self.recording) as Arc<dyn Driver>, places)
    }

    /// Texts without the place of the made-up machine.
    fn plain(&self, text: &str) -> String {
        text.replace(&self.root.path().display().to_string(), "")
    }

    fn say(&self, grant: &Grant) -> String {
        let mut said = String::new();
        for device in &grant.devices {
            said += &format!("{}\n", device.display());
        }
        for (host, inside) in &grant.read_only {
            said += &format!("{} as {}\n", host.display(), inside.display());
        }
        for (name, value) in &grant.environment {
            said += &format!("{name}={value}\n");
        }
        self.plain(&said)
    }

    async fn check(&self, numbers: &[u16], root: Root, expected: Expect) {
        let (gpus, _) = self.gpus();
        let said = match gpus.grant(numbers, root).await {
            Ok(grant) => self.say(&grant),
            Err(error) => self.plain(&format!("refused: {}\n", chain(error))),
        };
        expected.assert_eq(&said);
    }

    fn check_checks(&self, expected: Expect) {
        let line = |check: &Check| {
            format!("{:?} {}: {} {:?}\n", check.state, check.what, check.found, check.mend)
        };
        let said: String = self.gpus().1.iter().map(line).collect();
        expected.assert_eq(&self.plain(&said));
    }
}

#[test]
fn whole_gpus_are_offered_in_the_drivers_order() {
    let machine = Machine::new(LAPTOP);
    let (gpus, _) = machine.gpus();
    let offered: Vec<String> = gpus.offered().into_iter().map(|gpu| gpu.model).collect();
    assert_eq!(offered, ["NVIDIA GeForce RTX 4060 Laptop GPU", "NVIDIA RTX A2000"]);
    assert_eq!(gpus.cuda(), Some("12.4"));
    machine.link("/dev/null", "dev/kfd");
    machine.check_checks(expect![[r#"
        Yes GPU: NVIDIA GeForce RTX 4060 Laptop GPU, 8188 MiB, driver 550.54.15, CUDA 12.4 None
        Yes GPU: NVIDIA RTX A2000, 6138 MiB, driver 550.54.15, CUDA 12.4 None
        Optional GPU: NVIDIA A100-SXM4-40GB, 40960 MiB, driver 550.54.15, CUDA 12.4: split into instances (MIG), which are not offered None
        Optional GPU: an AMD GPU, which is not offered None
    "#]]);
}

#[test]
fn what_a_task_could_not_use_is_not_offered_and_said_how_to_mend() {
    let machine = Machine::new(LAPTOP);
    fs::remove_file(machine.path("dev/nvidia-uvm")).unwrap();
    assert_eq!(machine.gpus().0.offered(), []);
    machine.check_checks(expect![[r#"
        No GPU: NVIDIA GeForce RTX 4060 Laptop GPU, 8188 MiB, driver 550.54.15, CUDA 12.4: /dev/nvidia-uvm is not there Some("sudo modprobe nvidia-uvm && sudo nvidia-modprobe -u -c 0")
        No GPU: NVIDIA RTX A2000, 6138 MiB, driver 550.54.15, CUDA 12.4: /dev/nvidia-uvm is not there Some("sudo modprobe nvidia-uvm && sudo nvidia-modprobe -u -c 0")
        Optional GPU: NVIDIA A100-SXM4-40GB, 40960 MiB, driver 550.54.15, CUDA 12.4: split into instances (MIG), which are not offered None
    "#]]);
    machine.link("/dev/null", "dev/nvidia-uvm");
    fs::remove_file(machine.path("lib/libcuda.so.550.54.15")).unwrap();
    assert_eq!(machine.gpus().0.offered(), []);
}

#[test]
fn a_plain_file_is_no_device() {
    let machine = Machine::new(LAPTOP);
    fs::remove_file(machine.path("dev/nvidia1")).unwrap();
    fs::write(machine.path("dev/nvidia1"), "").unwrap();
    let models: Vec<String> = machine.gpus().0.offered().into_iter().map(|gpu| gpu.model).collect();
    assert_eq!(models, ["NVIDIA RTX A2000"]);
}

#[tokio::test(start_paused = true)]
async fn a_grant_shows_its_own_gpu_and_no_other() {
    let machine = Machine::new(LAPTOP);
    machine
        .check(
            &[0],
            Root::Machine,
            expect![[r#"
        /dev/nvidiactl
        /dev/nvidia-uvm
        /dev/nvidia1
        /dev/nvidia-uvm-tools
        /lib/libcuda.so.550.54.15 as /gpu/lib/libcuda.so.1
        /lib/libcuda.so.550.54.15 as /gpu/lib/libcuda.so.550.54.15
        /lib/libnvidia-ml.so.550.54.15 as /gpu/lib/libnvidia-ml.so.1
        /lib/libnvidia-ml.so.550.54.15 as /gpu/lib/libnvidia-ml.so.550.54.15
        CUDA_VISIBLE_DEVICES=GPU-8f3d2c1a-5b6e-4f70-9a81-0c1d2e3f4a5b
        NVIDIA_VISIBLE_DEVICES=GPU-8f3d2c1a-5b6e-4f70-9a81-0c1d2e3f4a5b
        LD_LIBRARY_PATH=/gpu/lib
    "#]],
        )
        .await;
    machine.check(&[], Root::Machine, expect![""]).await;
}

#[tokio::test(start_paused = true)]
async fn two_gpus_can_be_granted_together() {
    let machine = Machine::new(LAPTOP);
    machine.check(&[1, 0], Root::Image, expect![[r#"
        /dev/nvidiactl
        /dev/nvidia-uvm
        /dev/nvidia1
        /dev/nvidia0
        /dev/nvidia-uvm-tools
        /lib/libcuda.so.550.54.15 as /gpu/lib/libcuda.so.1
        /lib/libcuda.so.550.54.15 as /gpu/lib/libcuda.so.550.54.15
        /lib/libnvidia-ml.so.550.54.15 as /gpu/lib/libnvidia-ml.so.1
        /lib/libnvidia-ml.so.550.54.15 as /gpu/lib/libnvidia-ml.so.550.54.15
        CUDA_VISIBLE_DEVICES=GPU-8f3d2c1a-5b6e-4f70-9a81-0c1d2e3f4a5b,GPU-11111111-2222-3333-4444-555555555555
        NVIDIA_VISIBLE_DEVICES=GPU-8f3d2c1a-5b6e-4f70-9a81-0c1d2e3f4a5b,GPU-11111111-2222-3333-4444-555555555555
        LD_LIBRARY_PATH=/gpu/lib
    "#]]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_offered_is_not_granted() {
    let machine = Machine::new(LAPTOP);
    machine
        .check(
            &[2],
            Root::Machine,
            expect![[r#"
        refused: GPU 2 is granted, and this machine offers 2
    "#]],
        )
        .await;
    machine
        .check(
            &[0, 0],
            Root::Machine,
            expect![[r#"
        refused: GPU 0 is granted twice
    "#]],
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_specification_names_the_libraries_if_it_is_of_this_driver() {
    let machine = Machine::new(LAPTOP);
    let root = nix::unistd::Uid::effective().is_root();
    let libraries = machine.path("driver");
    fs::create_dir(&libraries).unwrap();
    for name in ["libcuda.so.550.54.15", "libnvidia-nvvm.so.550.54.15"] {
        fs::write(libraries.join(name), "").unwrap();
    }
    machine.link("libnvidia-nvvm.so.550.54.15", "driver/libnvidia-nvvm.so.4");
    let text = SPECIFICATION.replace(
        "hostPath: /usr/lib/x86_64-linux-gnu",
        &format!("hostPath: {}", libraries.display()),
    );
    fs::write(machine.path("cdi/nvidia.yaml"), &text).unwrap();
    let grant = machine.gpus().0.grant(&[0], Root::Machine).await.unwrap();
    let nvvm = |grant: &Grant| {
        grant
            .read_only
            .iter()
            .any(|(_, inside)| inside == Path::new("/gpu/lib/libnvidia-nvvm.so.4"))
    };
    // Anybody else's specification is passed over, so without root there is none to read.
    assert_eq!(nvvm(&grant), root);
    drop(grant);
    fs::remove_file(libraries.join("libcuda.so.550.54.15")).unwrap();
    let grant = machine.gpus().0.grant(&[0], Root::Machine).await.unwrap();
    assert!(!nvvm(&grant) && grant.read_only.len() == 4);
}

#[tokio::test(start_paused = true)]
async fn a_grant_waits_for_what_an_earlier_task_has_left() {
    let machine = Machine::new(LAPTOP);
    let (gpus, _) = machine.gpus();
    let grant = gpus.grant(&[BUSY], Root::Machine).await.unwrap();
    assert_eq!(machine.recording.asked(BUSY_UUID), 3);
    // As long as one task has it, no other gets it, also in another task's hands.
    let again = gpus.clone().grant(&[BUSY], Root::Machine).await;
    assert!(matches!(again, Err(GpuError::Held { number: BUSY })));
    grant.release().await.unwrap();
    gpus.grant(&[BUSY], Root::Machine).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_gpu_on_which_others_compute_is_not_granted() {
    let machine = Machine::new(&LAPTOP.replace("[2, 1, 0]", "[3]"));
    machine
        .check(
            &[BUSY],
            Root::Machine,
            expect![[r#"
        refused: GPU 1 is busy: 3 processes compute on it
    "#]],
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_leaves_something_behind_is_told_of_at_release() {
    let machine = Machine::new(&LAPTOP.replace("[2, 1, 0]", "[0, 1]"));
    let (gpus, _) = machine.gpus();
    let grant = gpus.grant(&[BUSY], Root::Machine).await.unwrap();
    let left = grant.release().await;
    assert!(matches!(left, Err(GpuError::Busy { number: BUSY, processes: 1 })), "{left:?}");
}

#[test]
fn a_broken_gpu_hides_no_other() {
    let machine = Machine::new(LAPTOP);
    machine.recording.lose(FREE_UUID);
    let models: Vec<String> = machine.gpus().0.offered().into_iter().map(|gpu| gpu.model).collect();
    assert_eq!(models, ["NVIDIA RTX A2000"]);
    machine.check_checks(expect![[r#"
        No GPU: number 0 of the driver: failed to ask the NVIDIA driver for a GPU: device fell off the bus or has otherwise become inacessible None
        Yes GPU: NVIDIA RTX A2000, 6138 MiB, driver 550.54.15, CUDA 12.4 None
        Optional GPU: NVIDIA A100-SXM4-40GB, 40960 MiB, driver 550.54.15, CUDA 12.4: split into instances (MIG), which are not offered None
    "#]]);
}

#[test]
fn a_gpu_that_breaks_later_hides_no_others_load() {
    let machine = Machine::new(LAPTOP);
    let gpus = machine.gpus().0;
    machine.recording.lose(FREE_UUID);
    let loads = first_loads(&Meter::start(&gpus));
    assert_eq!(loads.len(), gpus.offered().len());
    // Nobody is granted the broken one while something seems to run on it.
    assert_eq!((loads[0].processes, loads[1].temperature_c), (1, 40));
}

#[tokio::test(start_paused = true)]
async fn a_wedged_driver_holds_one_thread_however_often_it_is_asked() {
    let machine = Machine::new(LAPTOP);
    let (gpus, _) = machine.gpus();
    let recording = &machine.recording;
    recording.is_wedged.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let gpus = gpus.clone();
        let grant = tokio::spawn(async move { gpus.grant(&[0], Root::Machine).await });
        while recording.asked(FREE_UUID) == 0 {
            tokio::task::yield_now().await;
        }
        // Time does not pass by itself while a thread is blocked.
        while !grant.is_finished() {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(matches!(grant.await.unwrap(), Err(GpuError::Silence { limit_s: 10 })));
    }
    let asked = recording.asked(FREE_UUID);
    // Before any assertion, since the end of the test waits for the thread.
    recording.is_wedged.store(false, Ordering::Relaxed);
    assert_eq!(asked, 1);
    gpus.grant(&[0], Root::Machine).await.unwrap();
}

#[test]
fn behind_walls_that_cannot_limit_its_memory_no_gpu_is_offered_or_measured() {
    let machine = Machine::new(LAPTOP);
    let gpus = |isolation| machine.gpus().0.behind_walls(isolation);
    for isolation in [Isolation::None, Isolation::Docker, Isolation::Full] {
        let (gpus, withheld) = gpus(isolation);
        assert_eq!((gpus.offered().len(), withheld), (2, None));
    }
    let (gpus, withheld) = gpus(Isolation::Restricted);
    let words = withheld.unwrap().found;
    assert_eq!(words, "not offered, since a task's memory cannot be limited here");
    assert_eq!((gpus.offered(), gpus.cuda()), (Vec::new(), None));
    // The load of a GPU that is not offered would end the session: nothing is asked for it.
    assert!(gpus.driver.is_none());
}

#[test]
fn loads_are_told_once_each() {
    let machine = Machine::new(LAPTOP);
    let meter = Meter::start(&machine.gpus().0);
    let loads = first_loads(&meter);
    assert_eq!(loads.len(), 2);
    let load =
        GpuLoad { busy_permille: 370, memory_used_mib: 1024, temperature_c: 61, processes: 0 };
    assert_eq!(loads[0], load);
    assert_eq!(meter.take(), []);
}

fn first_loads(meter: &Meter) -> Vec<GpuLoad> {
    loop {
        let loads = meter.take();
        if !loads.is_empty() {
            return loads;
        }
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_machine_without_gpus_is_no_error() {
    let (gpus, checks) = Gpus::find().await;
    assert!(gpus.offered().len() <= checks.len());
    assert!(!checks.is_empty());
}
