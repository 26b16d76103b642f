//! What a search finds, as pages show it.

use super::SHORT;
use app::api::{Kind, SearchHit};
use app::components::link;
use domain::master::{Hit, Master, RegionIx};

/// The best of what `text` finds in `master`, best first.
pub(super) fn hits(master: &Master, text: &str) -> Vec<SearchHit> {
    master.search(text, SHORT).into_iter().map(|hit| found(master, hit)).collect()
}

fn found(master: &Master, hit: Hit) -> SearchHit {
    // The names from `region` on up, without the first of them and the country.
    let place = |region: RegionIx, skip: usize| {
        let above = master.ancestors(region).skip(skip).filter(|ix| ix.0 != 0);
        above.map(|ix| master.region(ix).name.as_str()).collect::<Vec<_>>().join(", ")
    };
    match hit {
        Hit::Region(ix) => {
            let region = master.region(ix);
            SearchHit {
                href: link::region(&region.code),
                name: region.name.clone(),
                code: region.code.clone(),
                place: place(ix, 1),
                kind: Kind::Region(region.level),
            }
        }
        Hit::Facility(ix) => {
            let facility = master.facility(ix);
            SearchHit {
                href: link::facility(&facility.code),
                name: facility.name.clone(),
                code: facility.code.clone(),
                place: place(facility.region, 0),
                kind: Kind::Facility,
            }
        }
        Hit::Sensor(ix) => {
            let sensor = master.sensor(ix);
            let facility = master.facility(sensor.facility);
            SearchHit {
                href: link::device(&sensor.id),
                name: facility.name.clone(),
                code: sensor.id.clone(),
                place: place(facility.region, 0),
                kind: Kind::Device,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use app::words::Lang;

    /// A hierarchy with neighbourhoods below its villages: the sixth level is a place like the others, not a facility.
    #[test]
    fn levels_below_the_village_are_places() {
        let levels = "depth,key,name_id,name_en\n0,country,Negara,Country\n1,province,Provinsi,Province\n\
            2,regency,Kabupaten,Regency\n3,district,Kecamatan,District\n4,village,Desa,Village\n5,rw,RW,Neighbourhood\n";
        let regions = "level,code,parent,name\n0,ID,,Indonesia\n1,32,ID,Jawa Barat\n2,32.17,32,Kab. Bandung Barat\n\
            3,32.17.01,32.17,Lembang\n4,32.17.01.2001,32.17.01,Gudangkahuripan\n5,32.17.01.2001.05,32.17.01.2001,RW Melati\n";
        let facilities = "code,name,kind,region,latitude,longitude,zone,equipment\n\
            P321701-1,Puskesmas Melati,puskesmas,32.17.01,-6.8,107.6,WIB,F1 Haier HBC-80\n";
        let master = Master::parse(levels, regions, facilities).expect("parses");
        let found = hits(&master, "melati");
        let kinds: Vec<_> = found.iter().map(|hit| (hit.kind, hit.href.as_str())).collect();
        assert!(kinds.contains(&(Kind::Region(5), "/regions/32.17.01.2001.05")), "{kinds:?}");
        assert!(kinds.contains(&(Kind::Facility, "/facilities/P321701-1")), "{kinds:?}");
        for (lang, called) in [(Lang::Id, ["Wilayah", "Fasilitas", "Alat"]), (Lang::En, ["Place", "Facility", "Device"])] {
            let words = &lang.words().cold;
            assert_eq!([Kind::Region(5), Kind::Facility, Kind::Device].map(|kind| words.of(kind).title), called);
        }
    }
}
