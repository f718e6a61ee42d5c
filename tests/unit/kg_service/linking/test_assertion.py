import hashlib
import json
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kg_service.linking import assertion
from kg_service.linking.assertion import assess
from kg_service.linking.grammar import GRAMMARS
from kg_service.linking.triggers import phrases_of, table
from sklearn.metrics import f1_score

SIGNS = {"present": "+", "absent": "-", "uncertain": "?", "family": "f", "history": "h"}
LABELLED = Path(__file__).parents[3] / "fixtures/assertion"


def assertions(caption, *languages):
    """`caption` marks findings as [finding]; returns the caption's words for each, as SIGNS."""
    spans: list[tuple[int, int]] = []
    plain = ""
    for position, piece in enumerate(caption.replace("]", "[").split("[")):
        if position % 2:
            spans.append((len(plain), len(plain) + len(piece)))
        plain += piece
    return "".join(SIGNS[value] for value in assess(plain, spans, languages or ("ENG",)))


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("CT shows a [mass]", "+"),
        ("There is no [pleural effusion]", "-"),
        ("No evidence of [pneumothorax] or [effusion]", "--"),
        ("without [fracture], [dislocation] or [effusion]", "---"),
        ("[mass] without [calcification]", "+-"),
        ("neither [stenosis] nor [thrombus] was seen", "--"),
        ("revealed neither [ureteral stricture] nor [leakage] from the anastomosis", "--"),
        ("failed to reveal [metastases]", "-"),
        ("The [aneurysm] is no longer visible", "-"),
        ("[pneumonia] was ruled out", "-"),
        ("negative for [haemorrhage]", "-"),
        ("absence of [flow] in the left [kidney]", "-+"),
        ("the [left kidney] is absent", "-"),
        ("no [lesion] in the [liver]", "-+"),
        ("No [effusion]. [Cardiomegaly] is seen", "-+"),
        ("no [effusion] but [cardiomegaly]", "-+"),
        ("No [fracture] is seen; however, [swelling] is", "-+"),
        ("no [fracture], with [swelling] of the knee", "-+"),
        ("[mass] was not identified", "-"),
        ("does not show [ischaemia]", "-"),
        ("free of [tumour]", "-"),
        ("lack of [enhancement]", "-"),
        ("complete resolution of the [abscess]", "-"),
        ("the [collection] has disappeared", "-"),
        ("possible [pneumonia]", "?"),
        ("suspected [tuberculosis] with [cavity]", "?+"),
        ("suspicious for [malignancy]", "?"),
        ("cannot exclude [metastasis]", "?"),
        ("[metastasis] cannot be excluded", "?"),
        ("a [mass], most likely [lipoma]", "+?"),
        ("[fracture] is suspected", "?"),
        ("may represent [abscess]", "?"),
        ("to rule out [embolism]", "?"),
        ("no possible [fracture]", "-"),
        ("CT without contrast showing [haematoma]", "+"),
        ("CT without [contrast]", "-"),
        ("CT of the [abdomen] without intravenous [contrast medium] showing a [mass]", "+-+"),
        ("with and without [contrast]", "+"),
        ("no change in the [nodule]", "+"),
        ("no significant change in the [nodule]", "+"),
        ("not only [nodules] but [masses]", "++"),
        ("high resolution of the [bone]", "+"),
        ("consistent with [pneumonia]", "+"),
        ("NO [EFFUSION]", "-"),
        ("(a) No [effusion] (b) [mass]", "-+"),
        ("knowledge of [nodule]; nodular [mass]", "++"),
        ("normal [lungs]", "+"),
        ("no [septations] and a [cyst]", "-+"),
        ("absence of [uterus] and [ovaries]", "--"),
        ("no [trabeculation], [thickening] of the wall", "-+"),
        ("without well-defined, rim-enhancing [abscess]", "-"),
        ("no [collapse] (arrow) or [consolidation]", "--"),
        ("a [cyst] (no [septations]) and a [nodule]", "+-+"),
        ("a [collection] (probably [seroma]) is seen near the [scar]", "+?+"),
        ("no [uptake] is seen, suggesting [necrosis]", "-?"),
        ("no [mass] suggestive of [malignancy]", "--"),
        ("On [CT], the [cyst] is not visualised", "+-"),
        ("While the right [joint] is noted, the left [joint] is not seen", "+-"),
        ("[Gallbladder] was not clearly visualized", "?"),
        ("[Left lobe] cannot be demonstrated", "-"),
        ("[rupture] was highly suspected", "?"),
        ("[nodes] suspected of [malignancy]", "+?"),
        ("[defect], possibly due to [infarct]", "+?"),
        ("[abscess] versus [metastasis]", "??"),
        ("[abscess] vs. [metastasis] in the [liver]", "??+"),
        ("VS: [ventricular septum]", "+"),
        ("differential diagnosis: [lymphoma] or [sarcoma]", "??"),
        ("a suspicious [mass] suspicious for [carcinoma]", "+?"),
        ("without invading the [sinus]", "+"),
        ("the [nodes] have completely resolved", "-"),
        ("near-normal [heart] with [effusion] (not shown)", "++"),
        ("parallel, rather than crossing, [great arteries]", "+"),
        ("unable to detect [flow]", "-"),
        ("case no. 3: [tumour]", "+"),
        ("The [lesion] no longer enhances", "+"),
        ("The [lesion] no longer shows [enhancement]", "+-"),
        ("The [cyst] is no longer present", "-"),
        ("The [cyst] is no longer seen in the [liver]", "-+"),
        ("The [mass] no longer exists", "-"),
        ("neither the [liver] nor the [spleen] shows [metastases]", "++-"),
        ("Neither [kidney] showed [hydronephrosis]", "+-"),
        ("neither [lung] nor [pleura] demonstrates [masses]", "++-"),
        ("neither [effusion] nor [pneumothorax] is seen", "--"),
        ("neither [mass] nor [effusion], but a [fracture]", "--+"),
        ("no longer any [effusion]", "-"),
        ("There is no longer a [pneumothorax]", "-"),
        ("no longer [pneumothorax]", "-"),
        ("[effusion]: none", "-"),
        ("[Effusion]: none. [Fracture]: present.", "-+"),
        ("[effusion]: absent", "-"),
        ("[Effusion] - none", "-"),
        ("[fracture] absent", "-"),
        ("[fracture] absent, [effusion] present", "-+"),
        ("[uvula]: absent", "-"),
        ("Absent [kidney]", "-"),
        ("[heart] normal, absent [pulmonary artery]", "+-"),
        ("Congenitally absent [kidney]", "-"),
        ("[pneumothorax] -ve", "-"),
        ("[pneumothorax] −ve", "-"),
        ("[pneumothorax] +ve", "+"),
        ("-ve for [pneumothorax]", "-"),
        ("[CT] negative for [pneumothorax]", "+-"),
        ("not a [pneumothorax]", "-"),
        ("This is not a [pneumothorax] but a [skin fold]", "-+"),
        ("not an [abscess]", "-"),
        ("not the [aorta]", "-"),
        ("[pneumonia] has cleared", "-"),
        ("[pneumonia] had completely cleared", "-"),
        ("[pneumonia] cleared", "-"),
        ("clearing of the [consolidation]", "+"),
        ("complete clearing of the [consolidation]", "-"),
        ("The [effusion] has resolved", "-"),
        ("? [pneumonia]", "?"),
        ("?[pneumonia]", "?"),
        ("[Effusion]. ?[pneumonia]", "+?"),
        ("[effusion], ?[pneumonia]", "+?"),
        ("[effusion] ? [pneumonia]", "+?"),
        ("[Pneumonia]?", "?"),
        ("Is there [pneumonia]? [CT] shows [mass].", "?++"),
        ("[mass] (?[lipoma])", "+?"),
        ("[pleural effusion] +/- [pneumonia]", "+?"),
        ("[effusion] ± [pneumonia]", "+?"),
        ("[effusion] +/- [pneumonia]. [Fracture].", "+?+"),
        ("[mass] r/o [lymphoma]", "+?"),
        ("R/O [lymphoma]", "?"),
        ("r/o [PE] in a patient with [DVT]", "?+"),
        ("[PE] r/o'd", "-"),
        ("no [effusion] or [pneumothorax]", "--"),
        ("no [pneumothorax], [effusion], or [consolidation]", "---"),
        ("[lungs] are clear", "+"),
        ("The [lungs] have cleared", "+"),
        ("[effusion] not seen", "-"),
        ("no longer a [mass] in the [liver]", "-+"),
        ("no more [effusion]", "-"),
        ("The [mass] is no longer a concern", "+"),
        ("[Effusion]: none seen", "-"),
        ("[Masses]: none; [nodes]: enlarged", "-+"),
        ("None of the [nodules] is calcified", "+"),
        ("[calcifications] - absent", "-"),
        ("The [spleen] not enlarged", "+"),
        ("[lesion] without [enhancement]", "+-"),
        ("The [lesion] does not enhance", "+"),
        ("The [lesion] has cleared the [margin]", "++"),
    ],
)
def test_sentences(caption, expected):
    assert assertions(caption) == expected


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (
            "There is no evidence of focal\nairspace disease, [pneumothorax], or [pleural\neffusion].",
            "--",
        ),
        ("No acute intracranial [hemorrhage],\n[mass effect], or midline shift.", "--"),
        ("There has been interval development of a small left\napical [pneumothorax]. No\n[mediastinal shift].", "+-"),
        ("The cardiomediastinal silhouette is\nenlarged. No [edema] is\nseen.", "-"),
        ("FINDINGS:\nLines: ETT in place\nLungs: no [consolidation]\nPleura: small [effusion]", "-+"),
        ("IMPRESSION:\n1. No [fracture]\n2. [Effusion] of the knee", "-+"),
        ("No [pneumonia]\n\n[Cardiomegaly] present", "-+"),
        ("No [stones].\nMild [hydronephrosis]", "-+"),
        ("Negative for [DVT]\n[Baker cyst] behind the knee", "-+"),
        ("The patient hasn't got a [fracture].", "-"),
        ("There aren't any [stones] in the [bladder].", "-+"),
        ("[Effusion] isn’t seen.", "-"),
        ("We didn't find [metastases].", "-"),
        ("The tube doesn't reach the [stomach].", "+"),
        ("[Tear] can’t be ruled out.", "?"),
        ("It is not an [abscess].", "-"),
        ("These are not [metastases].", "-"),
        ("[Cholecystitis] is not suspected.", "-"),
        ("The [bone] is not broken.", "+"),
        ("No, this is not [tuberculosis].", "-"),
        ("[Malignancy] cannot be completely excluded on this study.", "?"),
        ("Cannot definitively rule out a small [infarct].", "?"),
        ("I can not reliably exclude [fracture].", "?"),
        ("[Thrombus] is not clearly seen.", "?"),
        ("[Effusion] is no longer present.", "-"),
        ("CT abdomen w/o [stones]", "-"),
        ("neg for [PE]", "-"),
        ("Neg. for acute [fracture].", "-"),
        ("c/w [pneumonia]", "+"),
        ("s/o [tuberculosis]", "?"),
        ("[Effusion] vs [thickening]", "??"),
        ("[Lymphoma] versus [sarcoidosis]", "??"),
        ("pt w/ h/o [CHF] p/w [edema]", "h+"),
        ("No e/o [DVT]", "-"),
        ("F/h [glaucoma]", "f"),
        ("No [mass], [cyst], [stone]", "---"),
        ("Without [edema], [effusion], [consolidation].", "---"),
        ("no [free fluid], [free air], [bowel obstruction] or [abscess]", "----"),
        ("no [fracture] - mild [swelling]", "-+"),
        ("No [effusion] – [heart] enlarged", "-+"),
        ("• [Cardiomegaly] • no [effusion] • [scoliosis]", "+-+"),
        ("- [Nodule] - No [effusion]", "+-"),
        ("No acute disease except [atelectasis] at the base.", "+"),
        ("No [fracture] other than the known [rib fracture].", "-+"),
        ("Normal study with the exception of a small [hernia].", "+"),
        ("No abnormality apart from [scoliosis] is seen.", "+"),
        ("Please rule out [stroke].", "?"),
        ("R/O [appendicitis]", "?"),
        ("?[PE]", "?"),
        ("Query [fracture].", "?"),
        ("Assess for [metastatic disease]", "?"),
        ("Kindly exclude [pneumothorax].", "?"),
        ("[Pneumothorax]: none", "-"),
        ("[Effusion]: NO", "-"),
        ("[Fracture] - no", "-"),
        ("[Pneumothorax]: not present", "-"),
        ("[Fractures]: Negative.", "-"),
        ("[Edema]: absent, [effusion]: present", "-+"),
        ("[Mass]: yes; [stone]: no", "+-"),
        ("[Pneumothorax] = none", "-"),
        ("[Consolidation]: no [Effusion]: no", "--"),
        ("[DVT] excluded.", "-"),
        ("[Pneumothorax] excluded by CT.", "-"),
        ("[Sarcoma] is less likely.", "?"),
        ("Less likely [lymphoma].", "?"),
        ("No evidence of the previously described [nodule].", "-"),
        ("No sonographic evidence of the known [cyst].", "-"),
        ("No sign of the [fracture] seen before.", "-"),
        ("Family history: [breast cancer]", "f"),
        ("Maternal grandmother had [ovarian cancer].", "f"),
        ("Father died of [lung cancer].", "f"),
        ("family h/o [stroke]", "f"),
        ("Brother with [Marfan syndrome].", "f"),
        ("Past history of [tuberculosis].", "h"),
        ("PMH: [COPD], [asthma]", "hh"),
        ("History: [fall]", "h"),
        ("known history of [sarcoidosis] presents with [cough]", "h+"),
        ("s/p [mastectomy] for [cancer]", "++"),
        ("No prior history of [seizures].", "-"),
        ("Old healed [rib fractures].", "+"),
        ("5-day history of [fever]", "+"),
        ("Patient's mother has [lupus]; [nephritis] in the patient.", "f+"),
        (
            "Stable. No overt [pulmonary edema], [pneumonia] or\n[pleural effusion]. Old [rib fractures] are\nunchanged.",
            "---+",
        ),
        (
            "FINDINGS: There is a new right\nlower lobe [opacity] concerning for\n[pneumonia]. No\n[effusion].",
            "+?-",
        ),
        ("AP CHEST: THE LUNGS ARE CLEAR. THERE IS NO\n[PNEUMOTHORAX] OR [PLEURAL\nEFFUSION].", "--"),
        ("[Hernia]\nno [obstruction]\n[gallstones]", "+-+"),
        ("Liver: normal\nGallbladder: [stones], no [wall thickening]\nSpleen: absent", "+-"),
        ("[Appendicitis] couldn't be excluded.", "?"),
        ("There wasn't any evidence of [bleeding].", "-"),
        ("I don't think there is a [fracture].", "-"),
        ("[Metastatic disease] wasn't detected.", "-"),
        ("She doesn't have [cancer].", "-"),
        ("[Aneurysm] isn't ruptured.", "+"),
        ("That is not a [tumor], it is a [cyst].", "-+"),
        ("[Perforation] is not entirely excluded.", "?"),
        ("[Osteomyelitis] could not be completely ruled out.", "?"),
        ("Not convincingly [fractured].", "-"),
        ("We cannot confidently exclude an early [infiltrate].", "?"),
        ("CXR neg for [infiltrate]", "-"),
        ("CT abd/pelvis w/o evidence of [abscess]", "-"),
        ("r/o [PE], h/o [DVT]", "?h"),
        ("? [consolidation]", "?"),
        ("[atelectasis] vs. [PNA]", "??"),
        ("[Pneumonia] +ve", "+"),
        ("[fracture] -ve", "-"),
        ("No [ascites], [pleural effusion], [pericardial effusion], [lymphadenopathy].", "----"),
        ("No [infarct]; no [bleed]; [atrophy] noted", "--+"),
        ("no [consolidation] -- [effusion] noted", "-+"),
        ("1) no [fracture] 2) [dislocation]", "-+"),
        ("No [lesion] except for the [hemangioma] in the liver.", "-+"),
        ("Nothing abnormal besides [osteopenia].", "+"),
        ("No [mass] aside from the [fibroid].", "-+"),
        ("Evaluate for [fracture]", "?"),
        ("CT to exclude [bleed]", "?"),
        ("Indication: rule out [pneumothorax]", "?"),
        ("Concern for [abscess], please evaluate.", "?"),
        ("Clinical question: [stroke]?", "?"),
        ("[Pneumothorax]: NONE.", "-"),
        ("[Pleural effusion]: No evidence", "-"),
        ("[Nodules]: not identified", "-"),
        ("[Fracture]: yes, [dislocation]: no", "+-"),
        ("[PE] ruled out.", "-"),
        ("CT excludes [hemorrhage].", "-"),
        ("[Metastasis] felt less likely.", "?"),
        ("No definite evidence of the suspected [fracture].", "-"),
        ("No residual [pneumothorax].", "-"),
        ("Her mother and sister had [breast cancer].", "f"),
        ("Family history significant for [colon cancer].", "f"),
        ("Family Hx: [MI]", "f"),
        ("There is no family history of [stroke].", "-"),
        ("Paternal uncle has [hemophilia].", "f"),
        ("Prior history of [pancreatitis].", "h"),
        ("Medical history of [hypertension] and [gout].", "hh"),
        ("H/O [TB]. [Cavity] in the right upper lobe.", "h+"),
        ("Patient has history of [melanoma], presents for staging.", "h"),
        ("Two-year history of [back pain].", "+"),
        ("Prior [fracture] of the radius.", "+"),
        ("[Pneumonia]: possible", "?"),
        ("[Fracture]: nil", "-"),
        ("Nil [fracture]", "-"),
        ("cannot r/o [pneumonia]", "?"),
        ("Unable to exclude [tear].", "?"),
        ("This does not appear to be [pneumonia].", "-"),
        ("No [pneumothorax]\nIn the right lung a [nodule] is seen", "-+"),
        ("THE LUNGS ARE CLEAR\nOF [CONSOLIDATION].", "-"),
        ("No e/o acute [fracture] or [dislocation], [effusion] is present", "--+"),
        ("Impression: No acute [cardiopulmonary disease].", "-"),
        ("Lungs are clear without [effusion], [infiltrate] or [pneumothorax]. [Heart] size is normal.", "---+"),
        ("[Pneumothorax] is not identified; [effusion] is small.", "-+"),
        ("1. No evidence of [pulmonary\nembolism].\n2. Small bilateral [effusions]\n3. No [aortic dissection]", "-+-"),
        ("Right [pleural effusion], no [pneumothorax]\nLeft lower lobe [atelectasis]", "+-+"),
        ("CT CHEST W/O CONTRAST: no [nodules]", "-"),
        ("Patient denies [chest pain].", "-"),
        ("We didn't identify a [stone].", "-"),
        ("[Hydronephrosis] isn't demonstrated.", "-"),
        ("I cannot see a [fracture].", "-"),
        ("There's no [effusion].", "-"),
        ("There isn’t evidence of [ischemia].", "-"),
        ("[Rotator cuff tear] is not completely excluded.", "?"),
        ("An occult [fracture] can't be definitely ruled out.", "?"),
        ("This finding does not represent [malignancy].", "-"),
        ("[Osteophytes] but not [fracture].", "+-"),
        ("neg for acute [infarct] or [bleed].", "--"),
        ("h/o [asthma]; r/o [pneumonia]", "h?"),
        ("[DVT] -ve", "-"),
        ("w/o [hydro] or [stones]", "--"),
        ("?[TB] vs [malignancy]", "??"),
        ("[edema] vs. early [pneumonia]", "??"),
        ("No [cyst], [stone], [mass], or [hydronephrosis].", "----"),
        ("No [bleed], [infarct], [mass]; [sinusitis] present.", "---+"),
        ("No [free air] – [diverticulosis] present", "-+"),
        ("no [edema] • [emphysema] • no [nodule]", "-+-"),
        ("No focal abnormality except [scarring] in the apex.", "+"),
        ("No [stenosis] other than mild [plaque].", "-+"),
        ("Please assess for [osteomyelitis].", "?"),
        ("To rule out [ectopic pregnancy]", "?"),
        ("Suspect [appendicitis]; please exclude.", "?"),
        ("[Pneumothorax]: No.\n[Effusion]: Yes.", "-+"),
        ("[Rib fracture] - none seen", "-"),
        ("[Lesion]: not seen", "-"),
        ("[Effusion] = none", "-"),
        ("[Malignancy] has been ruled out.", "-"),
        ("[Aspiration] is considered less likely.", "?"),
        ("No evidence of the [mass] described previously.", "-"),
        ("Family history is positive for [breast cancer].", "f"),
        ("Sister was diagnosed with [lupus] at 30.", "f"),
        ("H/o [nephrolithiasis], now with [flank pain].", "h+"),
        ("Past surgical history of [appendectomy].", "h"),
        ("No known history of [malignancy].", "-"),
        ("Healed [fracture] of the clavicle.", "+"),
        ("Post-operative [seroma] is present.", "+"),
    ],
)
def test_sentences_of_reports(report, expected):
    assert assertions(report) == expected


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("No def. [PE]. Mild [atelectasis].", "-+"),
        ("no evid. of [DVT]", "-"),
        ("No acute abn. [Cyst] in the liver.", "+"),
        ("Lat. view shows no [fracture]. [Effusion] is seen.", "-+"),
        ("[Mass], prob. [lipoma].", "+?"),
        ("Thrombosis of the portal v. and [ascites].", "+"),
        ("No [lesion] in the femoral v. A [cyst] is seen.", "-+"),
        ("Nodes in levels III, IV and V. The [size] is normal.", "+"),
        ("No [hydro]. or [stones]", "--"),
        ("The [stone] hasn't moved.", "+"),
        ("There wouldn't be a [fracture].", "-"),
        ("The CT hasn't revealed any [abscess].", "-"),
        ("[Nodules] haven`t been seen.", "-"),
        ("[Effusion] if present is small.", "?"),
        ("Tiny, if any, residual [pneumothorax].", "?"),
        ("No [effusion], if any.", "-"),
        ("Most likely either [TB] or [sarcoidosis].", "??"),
        ("[Stents] in either [ureter].", "++"),
        ("Either [lung] shows [nodules].", "++"),
        ("Differential considerations would include [TB], [lymphoma].", "??"),
        ("The differential is broad and includes [glioma].", "?"),
        ("Differential attenuation of the [liver].", "+"),
        ("Referred for exclusion of [fracture].", "?"),
        ("Endovascular exclusion of the [aneurysm].", "+"),
        ("eval of [mass], eval for [stone]", "+?"),
        ("Dad had [CAD].", "f"),
        ("Maternal aunts and cousins with [ovarian cancer].", "f"),
        ("[Hemophilia] in the family.", "f"),
        ("No FH of [cancer].", "-"),
        ("Spatial variation in the relative [risk].", "+"),
        ("Daughter [cysts] in the [liver].", "++"),
        ("A child with [pneumonia].", "+"),
        ("w/out acute [fracture], hx/o [CABG].", "-h"),
        ("[Fracture] (-) [dislocation] (+)", "-+"),
        ("(-) [fracture], (+) [effusion]", "-+"),
        ("[Effusion] (\u2212), [edema] (+).", "-+"),
        ("[Gallstones] (none)", "-"),
        ("[Cyst] (possible)", "?"),
        ("[Effusion] (no longer seen)", "-"),
        ("[Mass] (likely [lipoma])", "+?"),
        ("wave [velocity] (Vs) of the [breast]", "++"),
        ("At 3 months, [hematoma] had resolved.", "-"),
        ("[Abscess] not resolved.", "+"),
        ("[Edema] has partially resolved.", "+"),
        ("Has the [pneumothorax] resolved?", "?"),
        ("[PE] ruled out?", "?"),
        ("Has [fracture] been excluded? [Effusion] resolved.", "?-"),
        ("Time-resolved [MRA] of the [aorta].", "++"),
        ("[Abscess] never recurred.", "-"),
        ("There is nothing to suggest a [tumor].", "-"),
        ("This is not consistent with [abscess] or [tumor].", "--"),
        ("Findings are not suspicious for [malignancy].", "-"),
        ("[Infection] favored.", "?"),
        ("Favorable [outcome].", "+"),
        ("It would be difficult to rule out [tear].", "?"),
        ("It is unclear whether there is [thrombus].", "?"),
        ("We cannot be sure about [PE].", "?"),
        ("Unclear [etiology].", "+"),
        ("The [appendix] could not be assessed.", "?"),
        ("[Kidneys] were evaluated.", "+"),
        ("No [lesion] > 1 cm or [nodule].", "--"),
        ("No [fracture] -> discharge; [effusion] +", "-+"),
        ("No [bleed] | [atrophy]", "-+"),
        ("No evidence of: [fracture], [effusion], [mass].", "---"),
        ("No [fracture] (old [scar] noted) or [effusion].", "-+-"),
        ("No [edema] ([heart] has normal size).", "-+"),
        ("No abnormality, excluding mild [scoliosis].", "+"),
        ("MRI excluding [tumor], showing [edema].", "-+"),
        ("The [ducts] are not dilated.", "+"),
        ("Not significantly enlarged [nodes].", "+"),
        ("No enlarged [lymph nodes].", "-"),
        ("No appreciable change in [mass].", "+"),
        ("[Effusion] could be present.", "?"),
        ("[Hernia] may be seen in the [groin].", "++"),
    ],
)
def test_sentences_of_more_reports(report, expected):
    assert assertions(report) == expected


FRENCH = [
    ("Pas d'[épanchement pleural].", "-"),
    ("Pas d’[épanchement pleural].", "-"),
    ("PAS D'[EPANCHEMENT]", "-"),
    ("Pas d'[e\u0301panchement] mais [cardiome\u0301galie].", "-+"),
    ("Absence de [pneumothorax]", "-"),
    ("Absence du [rein gauche]", "-"),
    ("Sans [fracture]", "-"),
    ("[épanchement] : non retrouvé", "-"),
    ("Le scanner ne montre pas de [lésion] du [foie].", "-+"),
    ("Il n'y a plus d'[épanchement].", "-"),
    ("[pneumothorax] éliminé", "-"),
    ("[fractures] exclues", "-"),
    ("Le scanner élimine une [fracture].", "-"),
    ("Les [calculs] ne sont pas visibles.", "-"),
    ("suspicion de [pneumonie]", "?"),
    ("possible [embolie]", "?"),
    ("[embolie] probable du [poumon]", "?+"),
    ("On ne peut éliminer une [embolie].", "?"),
    ("L'examen ne permet pas d'exclure une [fracture].", "?"),
    ("[Fracture] non exclue.", "?"),
    ("Antécédent de [lymphome]", "h"),
    ("ATCD d'[AVC]. [Toux]", "h+"),
    ("Pas d'antécédent de [lymphome].", "-"),
    ("mère ayant eu un [cancer du sein]", "f"),
    ("Antécédents familiaux de [lupus].", "f"),
    ("Pas de [pneumothorax], de [fracture] ni d'[épanchement].", "---"),
    ("Pas d'[épanchement] en dehors d'une [lame] droite.", "-+"),
    ("Aucune anomalie hormis un [kyste].", "+"),
    ("Pas de [fracture], [cathéter] en place.", "-+"),
    ("Pas de [lésion] au niveau du [foie].", "-+"),
    ("[Fracture] non déplacée, non [calcifiée].", "++"),
    ("Pas de modification de la [masse].", "+"),
    ("Avec et sans [gadolinium].", "+"),
    ("Scanner sans [injection] de [produit de contraste] du [thorax]", "--+"),
    ("[TDM] sans injection ([bassin]) : [érosion] gauche", "+++"),
]


@pytest.mark.parametrize(("caption", "expected"), FRENCH)
def test_french_is_read_with_a_vocabulary_of_french_names(caption, expected):
    assert assertions(caption, "ENG", "FRE") == assertions(caption, "FRE", "ENG") == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("non-contrast [CT]", "+"),
        ("Non enhancing [lesion] of the liver", "+"),
        ("The [CT] was done sans [contrast].", "++"),
        ("PAS stain of the [kidney]", "+"),
        ("LA [dilatation], no [effusion]", "+-"),
        ("ET tube in place, no [pneumothorax]", "-"),
        ("De novo [metastasis] of the [liver], likely [sarcoma]", "++?"),
        ("No [fracture]; possible [effusion]", "-?"),
        ("[Pneumothorax] excluded", "-"),
    ],
)
def test_english_is_read_as_english_whatever_names_the_vocabulary_has(caption, expected):
    assert assertions(caption, "ENG", "FRE") == assertions(caption, "FRE", "ENG") == expected


@pytest.mark.parametrize("file", ["captions.jsonl", "kinds.jsonl", "reports.jsonl"])
def test_labelled_english_is_read_the_same_with_french_names(file):
    for row in rows_of(file):
        spans = [(start, end) for start, end, _ in row["spans"]]
        assert assess(row["text"], spans, ("ENG", "FRE")) == assess(row["text"], spans), row["text"]


def test_french_is_read_as_english_without_french_names():
    assert assertions("Pas d'[épanchement].") == "+"


@given(st.text(alphabet="no withut.,;()\n possible[]", max_size=80), st.integers(0, 40), st.integers(1, 40))
def test_any_span_of_any_text_gets_an_answer(caption, start, length):
    assert len(assess(caption, [(start, start + length), (0, 1)])) == 2


@pytest.mark.parametrize("language", GRAMMARS)
def test_every_phrase_of_the_table_rules_what_stands_next_to_it(language):
    assess = partial(assertion.assess, languages=[language])
    for words, rule in phrases_of(table(language).phrases):
        if rule.kind not in SIGNS:
            continue
        text = " ".join(words).replace(" .", ".")
        if words[0] == "(":
            text = f"({text[2:]})"
        if rule.side in {"after", "both", "near", "list"}:
            assert assess(f"{text} oedema", [(len(text) + 1, len(text) + 7)]) == [rule.kind], text
        if rule.side == "answer":
            assert assess(f"oedema {text} scar", [(0, 6), (len(text) + 8, len(text) + 12)]) == [rule.kind, "present"], text
            assert assess(f"{text} oedema", [(len(text) + 1, len(text) + 7)]) == [rule.kind], text
        if rule.side in {"before", "both"}:
            assert assess(f"oedema {text}", [(0, 6)]) == [rule.kind], text
        if rule.side in {"last", "either"}:
            assert assess(f"oedema {text}, scar", [(0, 6), (len(text) + 9, len(text) + 13)]) == [rule.kind, "present"], text
        if rule.side == "either":
            assert assess(f"oedema {text} scar", [(0, 6), (len(text) + 8, len(text) + 12)]) == ["present", rule.kind], text


def rows_of(file):
    return [json.loads(line) for line in (LABELLED / file).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("file", "made_up", "count"),
    [("captions.jsonl", 0, 346), ("kinds.jsonl", 178, 216), ("reports.jsonl", 193, 193), ("french.jsonl", 130, 164)],
)
def test_labelled_spans_are_well_formed(file, made_up, count):
    rows = rows_of(file)
    assert len({row["id"] for row in rows}) == len(rows) == count
    assert sum(row.get("made_up", False) for row in rows) == made_up
    for row in rows:
        assert row.get("made_up") or row["licence"] == "CC BY"
        for start, end, label in row["spans"]:
            assert row["text"][start:end].strip() == row["text"][start:end] != "", row
            assert label in {"present", "absent", "uncertain", "family", "history"}, row


def half_of(row):
    """As `benchmarks/linking/assertion.py`: all sentences of an image are in one half."""
    return "report" if hashlib.sha256(row["id"].split("-")[0].encode()).digest()[0] % 2 else "choose"


def test_agrees_with_labels_of_the_kinds_that_reports_have():
    rows = [row for row in rows_of("kinds.jsonl") if half_of(row) == "report"]
    assert len(rows) == 117
    labels = [label for row in rows for _, _, label in row["spans"]]
    answers = [answer for row in rows for answer in assess(row["text"], [(start, end) for start, end, _ in row["spans"]])]
    assert f1_score(labels, answers, labels=[*SIGNS][1:], average="micro") > 0.98


@pytest.mark.parametrize(("half", "sentences", "least"), [("report", 105, 0.94), ("choose", 88, 0.99)])
def test_agrees_with_labels_of_more_kinds(half, sentences, least):
    rows = [row for row in rows_of("reports.jsonl") if half_of(row) == half]
    assert len(rows) == sentences
    labels = [label for row in rows for _, _, label in row["spans"]]
    answers = [answer for row in rows for answer in assess(row["text"], [(start, end) for start, end, _ in row["spans"]])]
    assert f1_score(labels, answers, labels=[*SIGNS][1:], average="micro") > least


@pytest.mark.parametrize(("half", "sentences"), [("report", 89), ("choose", 75)])
def test_agrees_with_labels_of_french_sentences(half, sentences):
    rows = [row for row in rows_of("french.jsonl") if half_of(row) == half]
    assert len(rows) == sentences
    labels = [label for row in rows for _, _, label in row["spans"]]
    read = partial(assess, languages=("ENG", "FRE"))
    answers = [answer for row in rows for answer in read(row["text"], [(start, end) for start, end, _ in row["spans"]])]
    assert f1_score(labels, answers, labels=[*SIGNS][1:], average="micro") > 0.9


@pytest.mark.parametrize(("half", "sentences", "least"), [("report", 158, 0.932), ("choose", 188, 0.98)])
def test_agrees_with_labels_set_by_hand(half, sentences, least):
    rows = [row for row in rows_of("captions.jsonl") if half_of(row) == half]
    assert len(rows) == sentences
    labels = [label for row in rows for _, _, label in row["spans"]]
    answers = [answer for row in rows for answer in assess(row["text"], [(start, end) for start, end, _ in row["spans"]])]
    assert f1_score(labels, answers, labels=[*SIGNS][1:], average="micro") > least
    assert min(f1_score(labels, answers, labels=["absent", "uncertain"], average=None)) > 0.92
