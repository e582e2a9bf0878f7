//! Raw material for names and places.

#[rustfmt::skip]
pub(super) static FIRST: &[&str] = &[
    "Anna", "Ben", "Carla", "David", "Elena", "Frank", "Grace", "Hugo", "Irene", "Jonas", "Karin", "Liam", "Maria",
    "Noah", "Olga", "Paul", "Quinn", "Rosa", "Samir", "Tina", "Umberto", "Vera", "Walter", "Ximena", "Yusuf", "Zoe",
    "José", "Chloë", "Søren", "Łukasz", "Anne-Marie", "Seán", "Renée", "Jürgen", "Mary Jo", "D'Arcy",
];

#[rustfmt::skip]
pub(super) static LAST: &[&str] = &[
    "Smith", "Müller", "O'Neill", "García", "Rossi", "Dubois", "Novák", "Kowalski", "Andersson", "Jensen", "Virtanen",
    "de Vries", "van den Berg", "Silva", "Costa", "Papadopoulos", "Yılmaz", "Nguyen", "Kim", "Patel", "Khan", "Cohen",
    "Brown", "Taylor", "Wilson", "Lefèvre", "Fernández", "Popescu", "Horváth", "Ivanov", "Schmidt-Lorenz", "McDonald",
    "St. John", "Ørsted", "Ní Bhriain", "Johnson", "Walker", "Baker", "Meyer", "Weber",
];

/// Names in other scripts: given name, family name.
#[rustfmt::skip]
pub(super) static FOREIGN: &[(&str, &str)] = &[
    ("太郎", "山田"), ("花子", "佐藤"), ("伟", "王"), ("芳", "李"), ("민준", "김"), ("Иван", "Петров"),
    ("Ольга", "Смирнова"), ("Γιώργος", "Παπαδόπουλος"), ("محمد", "الأحمد"), ("נועה", "כהן"), ("สมชาย", "ใจดี"),
    ("राजेश", "शर्मा"),
];

#[rustfmt::skip]
pub(super) static FOREIGN_FIRMS: &[&str] = &[
    "株式会社山田電機", "北京华信科技有限公司", "ООО Ромашка", "Ελληνικές Τροφές ΑΕ", "شركة النور للتجارة",
    "한빛소프트", "บริษัท ใจดี จำกัด", "בית תוכנה ירוק", "शर्मा ट्रेडर्स", "Æther & Søn A/S", "Crème Brûlée SARL", "Żółw Sp. z o.o.",
];

#[rustfmt::skip]
pub(super) static ADJECTIVE: &[&str] = &[
    "Northern", "Blue", "Rapid", "Silver", "Golden", "United", "First", "Green", "Bright", "Coastal", "Alpine",
    "Central", "Royal", "Urban", "Quiet", "Prime", "Iron", "Crystal", "Summit", "Harbor", "Cedar", "Granite", "Solar",
];

#[rustfmt::skip]
pub(super) static NOUN: &[&str] = &[
    "Dental", "Logistics", "Robotics", "Foods", "Legal", "Media", "Plumbing", "Architects", "Insurance", "Motors",
    "Textiles", "Pharma", "Consulting", "Brewery", "Bakery", "Security", "Energy", "Travel", "Clinic", "Printing",
    "Timber", "Optics", "Software",
];

#[rustfmt::skip]
pub(super) static SUFFIX: &[&str] = &["Inc.", "LLC", "GmbH", "Ltd", "& Sons", "Group", "S.A.", "BV", "Partners", "Co."];

/// City, region, country, first digits of the postal code.
#[rustfmt::skip]
pub(super) static PLACES: &[(&str, &str, &str, &str)] = &[
    ("Albany", "NY", "US", "122"), ("Austin", "TX", "US", "787"), ("Denver", "CO", "US", "802"),
    ("Portland", "OR", "US", "972"), ("Toronto", "ON", "CA", "M5V"), ("London", "Greater London", "GB", "EC1"),
    ("Leeds", "West Yorkshire", "GB", "LS1"), ("Dublin", "Leinster", "IE", "D02"), ("Berlin", "Berlin", "DE", "101"),
    ("München", "Bayern", "DE", "803"), ("Zürich", "ZH", "CH", "80"), ("Wien", "Wien", "AT", "10"),
    ("Paris", "Île-de-France", "FR", "750"), ("Lyon", "Auvergne-Rhône-Alpes", "FR", "690"),
    ("Amsterdam", "Noord-Holland", "NL", "10"), ("Madrid", "Madrid", "ES", "280"), ("Lisboa", "Lisboa", "PT", "11"),
    ("Milano", "MI", "IT", "201"), ("København", "Hovedstaden", "DK", "21"), ("東京", "東京都", "JP", "100"),
    ("Sydney", "NSW", "AU", "20"), ("Auckland", "Auckland", "NZ", "10"),
];

#[rustfmt::skip]
pub(super) static STREETS: &[&str] =
    &["Main St", "High Street", "Station Road", "Hauptstraße", "Rue de la Paix", "Elm Ave", "Harbour Way", "Calle Mayor"];

#[rustfmt::skip]
pub(super) static EXTRAS: &[&str] = &["Suite 4", "2nd floor", "Building C", "c/o Reception", "Unit 12b"];
