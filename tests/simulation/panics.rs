//! Panics on this thread that nobody planned: each is a violation, wherever it is caught.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

use crate::sink::PLANNED_PANIC;

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

static HOOK: Once = Once::new();

/// Begins to note panics.
pub(crate) fn forget() {
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let text = info.to_string();
            if !text.contains(PLANNED_PANIC) {
                SEEN.with(|seen| seen.borrow_mut().push(text));
                usual(info);
            }
        }));
    });
    take();
}

pub(crate) fn take() -> Vec<String> {
    SEEN.with(|seen| std::mem::take(&mut *seen.borrow_mut()))
}
