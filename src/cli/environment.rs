//! Environment variables that drivers read when they are loaded.

use std::ffi::OsString;
use std::path::Path;

/// Disables a Vulkan layer of Mesa's, whatever its value.
const DISABLE: &str = "NODEVICE_SELECT";

/// Keeps Mesa's device-select layer from printing `error: XDG_RUNTIME_DIR is invalid or not set` on
/// machines without a desktop, once for every Vulkan instance.
///
/// The layer asks the desktop which GPU is the default one. Without a desktop it has nothing to ask,
/// so this process goes without it: `NODEVICE_SELECT=1`. What the user has set wins: that variable,
/// and those that tell the layer which GPU to take.
///
/// # Safety
///
/// No other thread may be running: a driver may read the environment while it is changed. So call
/// this first thing in `main`.
pub unsafe fn silence_device_select() {
    if is_noise(|name| std::env::var_os(name)) {
        // SAFETY: the caller has no other thread.
        unsafe { std::env::set_var(DISABLE, "1") };
    }
}

/// Whether the layer would complain in this environment, and does nothing that the user asked for.
fn is_noise(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    // libwayland, which the layer calls, complains unless one of the two is an absolute path.
    let absolute = |name| variable(name).is_some_and(|value| Path::new(&value).has_root());
    let set = |name| variable(name).is_some();
    cfg!(target_os = "linux")
        && !absolute("XDG_RUNTIME_DIR")
        && !absolute("WAYLAND_DISPLAY")
        && ![DISABLE, "MESA_VK_DEVICE_SELECT", "DRI_PRIME"]
            .into_iter()
            .any(set)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn is_noise_with(variables: &[(&str, &str)]) -> bool {
        is_noise(|name| {
            let set = variables.iter().find(|(set, _)| *set == name);
            set.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_layer_is_disabled_only_where_it_can_do_nothing_but_complain() {
        assert!(is_noise_with(&[]));
        assert!(is_noise_with(&[("XDG_RUNTIME_DIR", "")]));
        assert!(is_noise_with(&[("XDG_RUNTIME_DIR", "run/user/1000")]));
        assert!(is_noise_with(&[("WAYLAND_DISPLAY", "wayland-0")]));

        assert!(!is_noise_with(&[("XDG_RUNTIME_DIR", "/run/user/1000")]));
        assert!(!is_noise_with(&[("WAYLAND_DISPLAY", "/run/wayland-0")]));
    }

    #[test]
    fn what_the_user_has_set_wins() {
        for value in ["0", "1", ""] {
            assert!(!is_noise_with(&[("NODEVICE_SELECT", value)]), "{value}");
        }
        assert!(!is_noise_with(&[("MESA_VK_DEVICE_SELECT", "list")]));
        assert!(!is_noise_with(&[("DRI_PRIME", "1")]));
    }
}
