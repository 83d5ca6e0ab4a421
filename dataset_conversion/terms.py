"""Words that tables use, in English, Chinese, German and Japanese: grades of adenocarcinoma, yes and no, and headers.

The grades are those of the WHO Classification of Thoracic Tumours (5th edition, 2021): atypical adenomatous
hyperplasia, adenocarcinoma in situ, minimally invasive and invasive adenocarcinoma with its patterns.
"""

from __future__ import annotations

import re
from types import MappingProxyType

GRADES = MappingProxyType(
    {
        "AAH": (
            "AAH",
            "atypical adenomatous hyperplasia",
            "非典型腺瘤样增生",
            "不典型腺瘤样增生",
            "atypische adenomatöse Hyperplasie",
            "異型腺腫様過形成",
        ),
        "AIS": (
            "AIS",
            "adenocarcinoma in situ",
            "in situ adenocarcinoma",
            "原位腺癌",
            "Adenokarzinom in situ",
            "In-situ-Adenokarzinom",
            "in situ Adenokarzinom",
            "上皮内腺癌",
        ),
        "MIA": (
            "MIA",
            "minimally invasive adenocarcinoma",
            "微浸润性腺癌",
            "微浸润腺癌",
            "minimal invasives Adenokarzinom",
            "minimal-invasives Adenokarzinom",
            "微少浸潤性腺癌",
            "微小浸潤性腺癌",
            "微少浸潤腺癌",
        ),
        "IAC": (
            "IAC",
            "IA",
            "IADC",
            "invasive adenocarcinoma",
            "浸润性腺癌",
            "浸润腺癌",
            "invasives Adenokarzinom",
            "浸潤性腺癌",
            "浸潤腺癌",
            *(
                f"{pattern}{predominant} adenocarcinoma"
                for pattern in ("lepidic", "acinar", "papillary", "micropapillary", "solid")
                for predominant in ("", " predominant", "-predominant")
            ),
            "invasive mucinous adenocarcinoma",
            *(f"{pattern}型腺癌" for pattern in ("贴壁", "腺泡", "乳头", "微乳头", "实体")),
            *(f"{pattern}为主型腺癌" for pattern in ("贴壁", "腺泡", "乳头", "微乳头", "实体")),
            "浸润性黏液腺癌",
            "浸润性粘液腺癌",
            *(
                f"{pattern} Adenokarzinom"
                for pattern in ("lepidisches", "azinäres", "papilläres", "mikropapilläres", "solides")
            ),
            "invasives muzinöses Adenokarzinom",
            *(f"{pattern}型腺癌" for pattern in ("置換", "腺房", "乳頭", "微小乳頭", "充実")),
            "浸潤性粘液性腺癌",
        ),
    }
)
"""Grade -> terms that mean it, the lowest grade first."""
NON_INVASIVE_GRADES = ("AAH", "AIS", "MIA")
_PRE_INVASIVE = (
    *("pre-invasive", "preinvasive", "non-invasive", "noninvasive", "non invasive"),
    *("浸润前病变", "非浸润性", "präinvasiv", "nicht-invasiv", "nicht invasiv", "浸潤前病変", "非浸潤性"),
)
_INVASIVE = ("invasive", "浸润性", "invasiv", "浸潤性")
GRADES_OR_INVASIVE = MappingProxyType({**GRADES, "IAC": (*GRADES["IAC"], *_INVASIVE)})
"""The grades, of which a plain "invasive" is the highest."""
INVASIVENESS = MappingProxyType(
    {
        "non-invasive": (*(term for grade in NON_INVASIVE_GRADES for term in GRADES[grade]), *_PRE_INVASIVE),
        "invasive": GRADES_OR_INVASIVE["IAC"],
    }
)
"""The two answers of the grades -> their terms."""

SIGN = MappingProxyType(
    {
        "absent": (
            *("no", "0", "absent", "false", "n", "-", "negative", "无", "否", "阴性"),
            *("nein", "nicht vorhanden", "なし", "無", "陰性"),
        ),
        "present": (
            *("yes", "1", "present", "true", "y", "+", "positive", "有", "是", "阳性"),
            *("ja", "vorhanden", "あり", "陽性"),
        ),
    }
)
NOT_KNOWN = (
    *("na", "n/a", "nan", "none", "null", "unknown", "not known", "?", "未知", "不详"),
    *("unbekannt", "k. A.", "k.A.", "n. b.", "n.b.", "nicht bekannt", "nicht beurteilbar", "不明"),
)

SEX = MappingProxyType(
    {
        "female": ("f", "female", "w", "woman", "weiblich", "女", "女性"),
        "male": ("m", "male", "man", "männlich", "男", "男性"),
    }
)
SMOKING = MappingProxyType(
    {
        "never": (
            "never",
            "never smoker",
            "non-smoker",
            "nonsmoker",
            "no",
            "无",
            "否",
            "从不",
            "nie",
            "nein",
            "なし",
            "Nichtraucher",
        ),
        "former": (
            "former",
            "ex",
            "ex-smoker",
            "former smoker",
            "quit",
            "已戒",
            "ehemalig",
            "früher",
            "過去",
            "Ex-Raucher",
            "Exraucher",
        ),
        "current": (
            "current",
            "current smoker",
            "smoker",
            "yes",
            "有",
            "是",
            "aktuell",
            "ja",
            "あり",
            "現在",
            "Raucher",
        ),
    }
)
LOBES = MappingProxyType(
    {
        "upper": (
            *("RUL", "LUL", "upper", "right upper lobe", "left upper lobe", "右肺上叶", "左肺上叶", "右上叶", "左上叶"),
            *("rechter Oberlappen", "linker Oberlappen", "Oberlappen", "右上葉", "左上葉"),
        ),
        "middle": ("RML", "middle", "right middle lobe", "右肺中叶", "右中叶", "Mittellappen", "右中葉"),
        "lower": (
            *("RLL", "LLL", "lower", "right lower lobe", "left lower lobe", "右肺下叶", "左肺下叶", "右下叶", "左下叶"),
            *("rechter Unterlappen", "linker Unterlappen", "Unterlappen", "右下葉", "左下葉"),
        ),
    }
)

SERIES_ROLE = "series_uid"
STRUCTURE_ROLE = "structure"
DICOM_ROLES = (SERIES_ROLE, STRUCTURE_ROLE)
"""Which series and which contour of a DICOM export a row means; no other conversion reads them."""
ROLE_HEADERS = MappingProxyType(
    {
        "patient_id": r"(patient|pat|subject)(s|en)?(id|no|nr|number|nummer)?|id|pid|mrn"
        r"|(病人|患者)(编号|id|番号|号)|病案号|住院号",
        "case_id": r"(case|scan|fall)(id|no|nr|number|nummer)?|病例(编号|号)",
        "nodule_id": r"(nodule|lesion|herd|rundherd)(id|no|nr|number|nummer)?|结节(编号|号)?|結節(番号)?",
        "diameter_mm": r"(max)?(diameter|size|durchmesser|(tumor)?grösse|直径|最大径|长径|径|结节大小)(mm)?",
        "image": r"images?(file)?|imagename",
        "mask": r"masks?(file)?|segmentation",
        "mask_label": r"masklabel",
        "x_mm": r"x(mm)?",
        "y_mm": r"y(mm)?",
        "z_mm": r"z(mm)?",
        "split": r"split|traintest|cohort(split)?",
        STRUCTURE_ROLE: r"structure(name)?|roi(name)?|contour|kontur|struktur|靶区|轮廓|輪郭",
        SERIES_ROLE: r"series(instance)?(uid)?",
    }
)
"""Role of a column -> its header, without blanks and signs, in lower case."""
NODULE_HEADER = r"nodule|lesion|herd|rundherd|结节|結節"
"""Of a column that holds names of contours, where another numbers the nodules."""
SIGN_HEADERS = MappingProxyType(
    {
        "bubble_lucency": r"bubble(like)?lucency|vacuole(sign)?|空泡征?|blasigeaufhellung|(luft)?bläschen(zeichen)?",
        "pleural_retraction": r"pleural(retraction|indentation|tag)|胸膜(凹陷|牵拉)征?|pleuraretraktion|胸膜陥入像?",
        "spiculation": r"spiculat(ion|ed)|毛刺征?|spikulation|スピキュラ",
        "lobulation": r"lobulat(ion|ed)|分叶征?|lobulierung|分葉",
        "air_bronchogram": r"airbronchogram|支气管充气征|(positives)?bronchoaerogramm|気管支透亮像",
    }
)
NUMBER_HEADERS = MappingProxyType(
    {
        "age": (r"age|年龄|年齢|alter", "years"),
        "pack_years": (r"packyears?|吸烟指数|包年", "pack years"),
        "cea": (r"cea|癌胚抗原", "ng/mL"),
    }
)
"""Covariate -> header and, where the header names none, unit."""
CATEGORY_HEADERS = MappingProxyType(
    {
        "sex": (r"sex|gender|性别|性別|geschlecht", SEX),
        "smoking": (r"smok(ing|er)(status|history)?|吸烟史?|喫煙歴?|rauch(en|er|status)", SMOKING),
        "lobe": (r"lobe|location|site|部位|位置|肺叶|肺葉|lappen|lokalisation|lage", LOBES),
    }
)
"""Covariate -> header and the terms of its categories."""
UNIT_IN_HEADER = re.compile(r"[\[(（](?P<unit>[^\])）]+)[\])）]")
