//! Which device has which id.

use super::device::Device;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// Places of devices by their ids. The ids stand with the devices alone: so the table is small enough for a processor's own cache, and the
/// memory of a device, which is needed next, is on its way before its id is compared.
#[derive(Clone, Debug, Default)]
pub(super) struct DeviceIndex {
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl DeviceIndex {
    /// Where to look for `id`; of use to this index alone.
    pub fn hash(&self, id: &str) -> u64 {
        self.hasher.hash_one(id)
    }

    /// Reads a little of the device that is likely found by `hash`, see [`Device::warm`].
    pub fn warm(&self, devices: &[Device], hash: u64) -> u8 {
        let likely = self.places.iter_hash(hash).next();
        likely.and_then(|place| devices[*place as usize].state.id.as_bytes().first()).copied().unwrap_or(0)
    }

    /// The place of the device `id`, whose hash is `hash`.
    pub fn find(&self, devices: &[Device], hash: u64, id: &str) -> Option<u32> {
        self.places.find(hash, |place| devices[*place as usize].state.id == id).copied()
    }

    /// The same of an id that nobody has hashed.
    pub fn get(&self, devices: &[Device], id: &str) -> Option<u32> {
        self.find(devices, self.hash(id), id)
    }

    /// Takes in the last of `devices`, which was not there.
    pub fn add_last(&mut self, devices: &[Device]) {
        let of = |place: &u32| self.hasher.hash_one(devices[*place as usize].state.id.as_str());
        let last = devices.len() as u32 - 1;
        self.places.insert_unique(of(&last), last, of);
    }
}
