"""Terms for region names: equal spellings, generic words, and headings."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache

_WORDS = re.compile(r"[^\W_]+(?:['/-][^\W_]+)*")
_PARTS = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_EPITHET = re.compile(r"^[a-z]{3,}(?:(?<!i)(?<!om)a|ae|i|us|um|is|as|ans|ens|er|or)$")  # -ia and -oma name diseases
_ADJECTIVE = re.compile(r"[a-z]{2}(?:ic|al|ar|ary|ous|ive|ed)$")
# Official names that are neither initials nor spellings of the usual names; both as keys, so without plurals.
_SHORT_NAMES = {
    "coronavirus disease 2019": "covid 19",
    "severe acute respiratory syndrome coronavirus 2": "sar cov 2",
}
_MAX_ACRONYM_CHARS = 6  # CRISPR is an acronym, OBESITY a journal's capitals


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    """A word without its plural ending, roughly: singular and plural have one stem."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


@lru_cache(maxsize=1 << 16)
def key(form: str) -> str:
    """The key that all spellings of a term share: "Hip fractures" and "hip-fracture"."""
    said = " ".join(_stem(word.removesuffix("'s").strip("'")) for word in _PARTS.findall(form.casefold()))
    return _SHORT_NAMES.get(said, said)


def plain(topic: str) -> str:
    """A topic in natural order, without a closing bracket: "Carcinoma, Hepatocellular" → "Hepatocellular Carcinoma"."""
    said = re.sub(r"\s*\([^()]*\)$", "", topic.replace("’", "'").strip().rstrip("."))
    parts = said.split(", ")
    if 1 < len(parts) <= 3 and not re.search(r", (?:and|or) |\d\d", said):
        said = " ".join(reversed(parts))
    return said


def ngrams(title: str, known: Counter[str]) -> Iterator[str]:
    """Runs of one and two words of a title, and of up to four where they are a topic of two papers or more.

    known: the keys of all topics, with the number of papers. No run starts or ends with a function word.
    """
    if title.isupper():
        title = title.lower()
    for clause in re.split(r"[^\w\s'/-]+\s*", title.replace("’", "'")):
        words = _WORDS.findall(clause)
        for start in range(len(words)):
            for length in range(1, 5):
                run = words[start : start + length]
                if len(run) < length or _is_function(run[0]) or _is_function(run[-1]):
                    continue
                form = " ".join(run)
                whole = length < 3 and not (is_generic(key(run[0])) or is_generic(key(run[-1])))
                if whole or known[key(form)] > 1:
                    yield form


def _is_function(word: str) -> bool:
    return key(word) in _FUNCTION_WORDS


def is_generic(term: str) -> bool:
    """Whether a key names no subject: a function word, a study's design or place, filler, a number, two letters."""
    return term in _NAMELESS or len(term) < 3 or all(word.isdigit() for word in term.split())


def is_adjective(form: str) -> bool:
    """Whether a term is one word with an adjective's ending: "renal", "robotic"."""
    return " " not in form and _ADJECTIVE.search(form) is not None


def alike(one: str, other: str) -> bool:
    """Whether two keys mean nearly the same: one is part of the other, its initials, or shares half of its roots."""
    if is_acronym(one, other):
        return True
    words, others = one.split(), other.split()
    shared = sum(any(_same_root(word, theirs) for theirs in others) for word in words)
    return shared >= min(len(words), len(others)) or 2 * shared > len(words) + len(others) - shared


def is_acronym(one: str, other: str) -> bool:
    """Whether one key is the initials of the other: "mri" and "magnetic resonance imaging"."""
    short, long = sorted((one, other), key=len)
    return " " in long and short == initials(long)


def initials(term: str) -> str:
    """The first letters of a key's words, as a key: "mri" of "magnetic resonance imaging"."""
    return _stem("".join(word[0] for word in term.split()))


def _same_root(one: str, other: str) -> bool:
    """Whether two words share most of the shorter as prefix: "nurse" and "nursing", "surgery" and "surgeon"."""
    shared = 0
    for letter, theirs in zip(one, other, strict=False):
        if letter != theirs:
            break
        shared += 1
    return one == other or (shared >= 4 and shared >= 0.7 * min(len(one), len(other)))


def heading(forms: Mapping[str, int]) -> str:
    """A term as a heading: its most common spelling, in title case. forms: spelling → number of uses.

    The Latin name of a species keeps its lower-case epithet. It is recognised by its spellings: hardly ever a
    lower-case first or a capitalised second word, as "oxidative stress" has.
    """
    best = max(forms.items(), key=lambda use: (use[1], use[0]))[0]
    parts = best.split(" ")
    if len(parts) == 2 and _EPITHET.search(parts[1]):
        small_first = sum(times for form, times in forms.items() if form[0].islower())
        large_second = sum(times for form, times in forms.items() if form.partition(" ")[2][:1].isupper())
        if max(small_first, large_second) <= 0.2 * sum(forms.values()):
            return best
    return title_case(best)


def title_case(form: str) -> str:
    """A term as a heading: "Heart Failure", "Quality of Life", "SARS-CoV-2", "mRNA Vaccines"."""
    return " ".join(_cased(word, first=i == 0) for i, word in enumerate(form.split()))


def _cased(word: str, *, first: bool) -> str:
    if word.isupper() and word.isalpha() and len(word) > _MAX_ACRONYM_CHARS:
        word = word.lower()
    if word in _SMALL_WORDS and not first:
        return word
    # Capitals past the first letter and digits are somebody's spelling: mRNA, SARS-CoV-2, p53, fMRI.
    if any(letter.isupper() for letter in word[1:]) or any(letter.isdigit() for letter in word):
        return word
    parts = re.split("([-/])", word)
    return "".join(part if i and part in _SMALL_WORDS else _large(part) for i, part in enumerate(parts))


def _large(part: str) -> str:
    # A single Greek letter stays: a capital beta reads as a B.
    return part if len(part) == 1 and not part.isascii() else part[:1].upper() + part[1:]


def _listed(text: str) -> frozenset[str]:
    terms = [term for term in text.replace("\n", "|").split("|") if term]
    return frozenset(key(form) for term in terms for form in (term, plain(term)))


_SMALL_WORDS = frozenset(
    {"a", "an", "and", "as", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"}
)

_FUNCTION_WORDS = _listed("""
a|about|above|according|across|after|against|all|along|also|although|among|an|and|any|are|around|as|at|be|because|been
before|being|between|beyond|both|but|by|can|could|did|do|does|down|due|during|each|either|et|al|few|for|from|further
had|has|have|having|he|her|here|his|how|however|i|if|in|into|is|it|its|itself|just|less|may|might|more|most|much|must
nor|not|of|off|on|once|one|only|onto|or|other|our|out|over|own|per|rather|same|she|should|since|so|some|still|such
than|that|the|their|them|then|there|these|they|this|those|three|through|throughout|thus|to|together|too|toward|towards
two|under|until|up|upon|us|versus|very|via|vs|was|we|well|were|what|when|where|whether|which|while|who|whom|whose|why
will|with|within|without|would|yet|you|your
""")

# No subjects: MeSH check tags, study designs, and fillers of titles.
_GENERIC = _listed("""
humans|human|male|female|men|women|man|woman|adult|adults|aged|aged, 80 and over|80 and over aged|middle aged
young adult|young adults|older adults|elderly|infant|newborn infant|infant, newborn|child|children|preschool child
child, preschool|adolescent|adolescents|adolescence|animals|animal|mice|mouse|rats|rat|mice, inbred c57bl
inbred c57bl mice|mice, knockout|knockout mice|transgenic mice|inbred balb c mice|nude mice|sprague-dawley rats
rats, sprague-dawley|wistar rats|cell line|tumor cell line|cultured cells|cells, cultured|hek293 cells
animal disease models|disease models, animal|animal models|animal model|mouse model|rat model|retrospective studies
prospective studies|cross-sectional studies|cohort studies|longitudinal studies|follow-up studies|case-control studies
pilot projects|feasibility studies|reproducibility of results|sensitivity and specificity|treatment outcome
risk factors|risk factor|risk assessment|prognosis|incidence|prevalence|prospective study|retrospective study
cohort study|cross-sectional study|case-control study|longitudinal study|pilot study|case study|case report
case reports|case series|systematic review|scoping review|literature review|narrative review|review|meta-analysis
longitudinal|population-based|cross-sectional|real-world|older|rare|quality|index|accuracy|concentration
concentrations|source|sources|symptom|symptoms|bias|image|images|processing|generation|exposure|mapping
network meta-analysis|randomized controlled trial|randomised controlled trial|randomized controlled trials as topic
randomized clinical trial|controlled trial|clinical trial|clinical trials|clinical trials as topic|double-blind method
randomized trial|randomized|randomised|randomized controlled|systematic|scoping|protocol|retrospective|prospective
phase|phase 2|phase 3|phase ii|phase iii|multicenter study|multicentre study|observational study|study protocol
surveys and questionnaires|surveys|survey|questionnaire|questionnaires|interviews as topic|interviews
qualitative research|qualitative study|qualitative|mixed methods|focus groups|statistical models|models, statistical
models, theoretical|models, biological|biological models|theoretical models|algorithms|algorithm|computer simulation
time factors|age factors|sex factors|age|sex|gender|age of onset|severity of illness index|predictive value of tests
roc curve|odds ratio|logistic models|proportional hazards models|kaplan-meier estimate|multivariate analysis
regression analysis|survival rate|survival analysis|disease-free survival|overall survival|survival
disease progression|recurrence|comorbidity|mortality|outcome|outcomes|outcome assessment|complication|complications
postoperative complications|postoperative period|treatment|therapy|therapeutics|management|diagnosis
differential diagnosis|diagnosis, differential|prevention|screening|follow-up|epidemiology|pathology|etiology
pathogenesis|mechanism|mechanisms|molecular mechanisms|biomarker|biomarkers|quality of life|health|disease|diseases
syndrome|infection|patient|patients|hospital|hospitals|clinic|clinics|clinical|clinical outcomes
clinical characteristics|clinical features|clinical practice|clinical significance|practice guideline|guideline
guidelines|consensus|knowledge|attitude|education|training|development|performance|validation|validity|reliability
safety|efficacy|effectiveness|toxicity|kinetics|temperature|time|length of stay|cost|costs|study|studies|trial|trials
analysis|analyses|assessment|evaluation|comparison|comparative study|investigation|research|report|reports|approach
approaches|method|methods|methodology|technique|techniques|model|models|modeling|modelling|system|systems|framework
tool|tools|design|application|applications|development and validation|experience|experiences|perspective|perspectives
overview|update|insight|insights|evidence|evidence-based medicine|data|database|databases|factual|databases, factual
dataset|registry|registries|cohort|group|groups|population|populations|sample|samples|case|cases|effect|effects|impact
impacts|influence|role|roles|association|associations|relationship|relationships|correlation|change|changes|difference
differences|increase|increased|decrease|decreased|reduced|enhanced|improved|improve|improves|improving|promote
promotes|promoting|inhibit|inhibits|induce|induces|induced|mediate|mediates|mediated|regulate|regulates|regulated
regulating|regulation|involved|associated|related|based|derived|dependent|using|use|uses|used|via|following|novel|new
potential|different|inhibition|inhibitor|inhibitors|controlled|efficacy and safety|high|low|higher|lower|large|small
long|short|term|long-term|short-term|early|late|acute|chronic|severe|mild|first|second|third|single|multiple|multi
several|total|common|important|effective|efficient|predict|predicts|predicting|prediction|predictor|predictors
predictive|factor|factors|risk|risks|level|levels|rate|rates|response|responses|activity|activities|function|functions
functional|structure|structural|process|processes|property|properties|characteristic|characteristics|characterization
identification|identify|detection|determination|measurement|measurements|measure|measures|quantification
classification|selection|optimization|synthesis|preparation|production|target|targets|targeting|pathway|pathways
signaling|signaling pathway|signal transduction|expression|gene|genes|protein|proteins|cell|cells|tissue|tissues
molecular|molecule|in vitro|in vivo|vitro|vivo|ex vivo|vitro and in vivo|year|years|old|month|months|week|weeks|day
days|life|people|person|persons|participants|individuals|subjects|students|future|current|recent|advances|progress
challenges|challenge|opportunities|trends|state|status|need|needs|barriers|strategy|strategies|intervention
interventions|program|programs|programme|care|service|services|support|practice|national|international|global|local
regional|university|nationwide|world|country|countries|center|centre|department|letter|editorial|comment|reply
response to|correction|erratum|retracted|introduction|lessons|question|questions|humanities|science|sciences
scientific|special issue|article|paper|literature|theory|concept|concepts|definition|towards|comprehensive|integrated
integrative|multidisciplinary|specific|non|pre|post|co|anti|self|type|types|form|forms|simulation|problem|problems
results|conclusion|background|objective|aim|part|version|species|range|area|areas|region|regions|clinicians|clinician|poly|line|lines
""")

# MeSH's geographicals and similar: the place of a study is seldom its subject.
_PLACES = _listed("""
africa|algeria|angola|argentina|asia|australia|austria|bangladesh|belgium|benin|bolivia|botswana|brazil|bulgaria
burkina faso|cambodia|cameroon|canada|chile|china|colombia|congo|costa rica|croatia|cuba|cyprus|czech republic|denmark
ecuador|egypt|england|estonia|ethiopia|europe|european union|finland|france|germany|ghana|greece|guatemala|haiti
hong kong|hungary|iceland|india|indonesia|iran|iraq|ireland|israel|italy|jamaica|japan|jordan|kazakhstan|kenya|korea
republic of korea|korea, republic of|south korea|kuwait|laos|latin america|latvia|lebanon|liberia|libya|lithuania
madagascar|malawi|malaysia|mali|mexico|middle east|mongolia|morocco|mozambique|myanmar|namibia|nepal|netherlands
new zealand|niger|nigeria|north america|norway|oman|pakistan|palestine|panama|papua new guinea|paraguay|peru
philippines|poland|portugal|puerto rico|qatar|romania|russia|rwanda|saudi arabia|scotland|senegal|serbia|sierra leone
singapore|slovakia|slovenia|somalia|south africa|south america|southeast asia|spain|sri lanka|sub-saharan africa|sudan
sweden|switzerland|syria|taiwan|tanzania|thailand|tunisia|turkey|uganda|uk|ukraine|united arab emirates|united kingdom
united states|usa|us|uruguay|uzbekistan|venezuela|vietnam|wales|yemen|zambia|zimbabwe|beijing|shanghai|wuhan|hubei
guangdong|california|florida|new york|texas|ontario|quebec|london|chinese|african|american|european|german|italian
japanese|korean|indian|iranian|turkish|brazilian|spanish|french|british|australian|canadian|african americans
developing countries|low- and middle-income countries
""")

_NAMELESS = _FUNCTION_WORDS | _GENERIC | _PLACES
