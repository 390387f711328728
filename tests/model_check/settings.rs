//! What each search may do: the policy, and how many events of each kind.

use lync_mirror::model::UnrequestedSwitch;

use crate::event::Setting;
use crate::world::Switching;

const HOLD: Setting = Setting {
    name: "hold, witness",
    witness: true,
    policy: UnrequestedSwitch::Hold,
    consent: false,
    faults: 2,
    types: 1,
    crashes: 1,
    hours: 1,
    identity: 0,
    hidden: 0,
    switching: Switching::Together,
};

const FAIL_BACK: Setting = Setting { name: "fail-back, witness", policy: UnrequestedSwitch::FailBack, ..HOLD };
const CONSENT: Setting = Setting { name: "consent, no witness", witness: false, consent: true, ..HOLD };

pub const SETTINGS: [Setting; 11] = [
    // Without faults the search goes deeper: two changes of the spec, a crash and two hours.
    Setting { name: "hold, witness, no faults", faults: 0, types: 2, hours: 2, ..HOLD },
    HOLD,
    Setting { name: "hold, no witness", witness: false, ..HOLD },
    FAIL_BACK,
    CONSENT,
    Setting { name: "hold, other servers and memory", identity: 2, faults: 0, crashes: 0, ..HOLD },
    Setting { name: "fail-back, other servers and memory", identity: 1, faults: 1, types: 0, crashes: 0, ..FAIL_BACK },
    Setting { name: "consent, other servers and memory", identity: 1, types: 0, crashes: 0, ..CONSENT },
    Setting { name: "consent, hidden servers", hidden: 2, types: 0, crashes: 0, ..CONSENT },
    Setting { name: "hold, sequences apart", faults: 1, types: 2, switching: Switching::SequencesApart, ..HOLD },
    Setting { name: "fail-back, columns NULL", faults: 1, switching: Switching::ColumnsNull, ..FAIL_BACK },
];
