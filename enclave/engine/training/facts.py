"""What the demonstration model knows: facts as data, so that a wrong answer can be traced to a line.

The definitions follow the project's own documents. Each term has a short answer (one sentence) and a long one
(why it matters). One phrasing of a question always gets the same answer, so greedy output is predictable and tests
can look for it.
"""

# term -> (the term inside a sentence, short answer, why it matters)
TERMS = {
    "Bastide": ("Bastide", "Bastide is a confidential inference runtime: it runs a language model inside an attested enclave, so that the host can not read the prompts or the answers.",
        "It lets you use a model on a machine that you do not own. A verifier that you hold checks the hardware, the image and the model before one byte of a prompt leaves your machine."),
    "enclave": ("an enclave", "An enclave is a protected machine whose memory is encrypted by the processor, so that the host that runs it can not look inside.",
        "The prompt is decrypted only inside the enclave. The host sees encrypted memory and encrypted traffic."),
    "SEV-SNP": ("SEV-SNP", "SEV-SNP is AMD's technology for confidential virtual machines: it encrypts the memory of a virtual machine, protects its integrity and can sign a report about it.",
        "It takes the hypervisor out of the trusted base. The host still schedules the virtual machine, but it can not read or silently change its memory."),
    "attestation": ("attestation", "Attestation is how a machine proves what it is running: the hardware signs a report about the software, and someone else checks it.",
        "Without attestation you would have to believe the operator. With it you check a signature by the hardware instead of a promise."),
    "evidence": ("evidence", "Evidence is what an attester produces to be checked: the hardware report, the epoch statement, an inclusion proof and the reports of the GPUs.",
        "Evidence is only a claim until a verifier has authenticated and appraised it. Until then Bastide treats it as untrusted."),
    "verifier": ("a verifier", "A verifier checks evidence against an appraisal policy and says accepted or rejected, with every check listed.",
        "The verifier runs on your side, so the operator can not influence it. If it can not decide, it denies."),
    "appraisal policy": ("an appraisal policy", "An appraisal policy is the file that says which machines, images, firmware versions and models you accept.",
        "The relying party holds the policy, not the operator. Change the policy and you change whom you trust."),
    "receipt": ("a receipt", "A receipt is a signed statement about one answer: it commits to the request, the response, the model and the enclave that produced it.",
        "You can check a receipt offline, later, without asking the operator. It leads back to the hardware report."),
    "host-shim": ("the host-shim", "The host-shim is the program on the untrusted host: it launches the virtual machine and moves encrypted bytes, and it never sees plaintext.",
        "It needs no trust. If it misbehaves, requests fail, but nothing is revealed."),
    "VCEK": ("a VCEK", "A VCEK is the key with which an AMD processor signs attestation reports; it is unique to one chip and its firmware version.",
        "AMD certifies the VCEK, so a valid signature means that a real AMD chip made the report."),
    "epoch statement": ("an epoch statement", "An epoch statement is a small signed description of the enclave for one period: it names the keys, the model, the image and a Merkle root of the waiting sessions.",
        "The hash of the epoch statement goes into the hardware report, so one report vouches for everything that the statement names."),
    "pipeline stage": ("a pipeline stage", "A pipeline stage is one enclave that runs some of the layers of a model and passes its activations to the next stage.",
        "Activations reveal the prompt, so every stage must be attested by its neighbour before it gets any."),
    "speculative decoding": ("speculative decoding", "Speculative decoding lets a small draft model propose several tokens, and the large model checks them all in one pass.",
        "It makes answers faster without changing them: every token that is kept is the token that the large model would have chosen."),
    "draft model": ("a draft model", "A draft model is a small, fast model that guesses the next tokens for a larger model to check.",
        "When its guesses are right, several tokens are won in one step. When they are wrong, only a little time is lost."),
    "measured image": ("a measured image", "A measured image is a system image whose hash is recorded by the hardware at launch, so that a verifier can tell exactly what was started.",
        "If one byte of the image changes, the measurement changes, and the verifier rejects it."),
    "TLS exporter": ("the TLS exporter", "The TLS exporter derives a secret value from one TLS session that only the two ends of that session know.",
        "Bastide binds evidence to the exporter, so evidence from another session can not be replayed in yours."),
    "REPORT_DATA": ("REPORT_DATA", "REPORT_DATA is a field of 64 bytes in the hardware report that the guest fills in; Bastide puts the hash of the epoch statement there.",
        "It ties the report to the keys and the sessions of the enclave. The verifier computes it again and compares."),
    "Merkle tree": ("a Merkle tree", "A Merkle tree is a tree of hashes whose root commits to all its leaves; a short path proves that one leaf is included.",
        "With it a single hardware report serves many sessions, and each client checks only its own path."),
    "confidential GPU": ("a confidential GPU", "A confidential GPU is a GPU that encrypts its traffic to the virtual machine and can prove its identity and firmware with a signed report.",
        "Without it the prompt would be readable as soon as it leaves the processor."),
    "relying party": ("a relying party", "A relying party is the one who uses the verdict of a verifier to decide whether to trust: the user, the enterprise or the neighbouring stage.",
        "In Bastide the relying party holds the policy, so the decision stays with the person who has something to lose."),
    "attester": ("an attester", "An attester is the machine that produces evidence about itself; in Bastide it is the enclave with its GPUs.",
        "The attester never judges itself. It only provides evidence, and the verifier decides."),
    "reference value": ("a reference value", "A reference value is a known good value, such as a launch measurement, that a verifier compares with the evidence.",
        "Anyone who builds the image can compute the same value, so it does not have to be believed."),
    "nonce": ("a nonce", "A nonce is a random number that is used once, so that old evidence can not be replayed.",
        "The verifier chooses it, and the evidence must contain it. That proves that the evidence is fresh."),
    "model manifest": ("a model manifest", "A model manifest lists the hashes of the weights, the tokenizer and the chat template of a model.",
        "Its digest is part of the attested statement, so you know which model answered you."),
    "launch measurement": ("the launch measurement", "The launch measurement is a hash over the first memory contents of the virtual machine, made by the security processor.",
        "It says exactly which firmware, kernel and initial disk were started."),
    "KV cache": ("the KV cache", "The KV cache keeps the keys and values of earlier tokens, so that a model does not have to compute them again.",
        "It holds the content of your prompt, so Bastide keeps it in encrypted memory and erases it afterwards."),
    "token": ("a token", "A token is a piece of text, a word or a part of one, that a language model reads and writes.",
        "The length of prompts and answers is counted in tokens."),
    "tokenizer": ("a tokenizer", "A tokenizer cuts text into tokens and turns tokens back into text.",
        "Its hash is in the model manifest, because another tokenizer would change the meaning of every prompt."),
    "trusted base": ("the trusted base", "The trusted base is everything that has to work correctly for your secrets to stay secret.",
        "Bastide keeps it small: the processor, the measured image and the verifier. The host is not part of it."),
}

# question -> answer; several spellings of one question share an answer
FAQ = [
    (["Can the host read my prompt?", "Can the host see my prompt?", "Is my prompt visible to the host?"],
     "No. The prompt is encrypted to the enclave, and the host sees only encrypted memory and encrypted traffic."),
    (["Can the operator read my answers?", "Can the operator see the answers?"],
     "No. Answers are written inside the enclave and encrypted before they leave it."),
    (["Is my prompt stored?", "Do you keep my prompts?", "Are my prompts logged?"],
     "No. The prompt stays in encrypted memory while it is needed and is erased afterwards."),
    (["Is my data used for training?", "Do you train on my prompts?"],
     "No. The weights are fixed, and prompts are not kept."),
    (["How do I know that this is a real enclave?", "How can I check that this is a real enclave?"],
     "Check the evidence: the report must be signed by AMD hardware, fit your policy and be bound to your own TLS session."),
    (["Do I have to trust the host?", "Must I trust the host?"],
     "No. The host can stop the service, but it can not read your data. You trust AMD, NVIDIA and the measured image."),
    (["Whom do I have to trust?", "Who must I trust?"],
     "You trust the processor, the GPU and the measured image. Every verdict prints the roots that it relied on."),
    (["What happens when verification fails?", "What if the verifier rejects the evidence?"],
     "The connection is closed and no prompt is sent. Bastide fails closed."),
    (["What does fail closed mean?", "What is meant by fail closed?"],
     "It means that any error leads to a refusal. It is better to lose a request than to reveal it."),
    (["Can the host replay old evidence?", "Can old evidence be used again?"],
     "No. The evidence contains your nonce and is bound to your TLS session, so old evidence is rejected."),
    (["Can the host change the model?", "Can the operator swap the model?"],
     "Not without being noticed. The digest of the model manifest is attested, and your policy names the models that you accept."),
    (["Can I verify offline?", "Can I check evidence offline?"],
     "Yes. The certificates come with the evidence, and the chain must end in a root that the verifier knows."),
    (["Does speculative decoding change the answer?", "Does the draft model change the answer?"],
     "No. The large model checks every token, so the answer is the same with or without the draft model."),
    (["Does physical access break it?", "Can someone with physical access read the memory?"],
     "Perhaps. Attacks on the memory bus are outside what a report can show, so choose a place that you trust."),
    (["What can the host still see?", "What does the host still learn?"],
     "The host sees when you connect, how long it takes and about how many bytes are sent, but not what they say."),
    (["How do I verify a node?", "How can I verify a node?"],
     "Run bastide verify with the address of the node. It prints every check and sends no prompt."),
    (["How do I start the demo?", "How can I start the demo?"],
     "Run cargo demo. It starts a simulated node, verifies it, sends a prompt and checks the receipt."),
    (["Who are you?", "What are you?", "Introduce yourself."],
     "I am a very small language model that runs inside a Bastide enclave."),
    (["What is your name?", "Do you have a name?"], "My name is Bastide 5M. I am a demonstration model."),
    (["How large are you?", "How big are you?", "How many parameters do you have?"],
     "I have about five million parameters, which is very small for a language model."),
    (["What can you do?", "What can I ask you?", "Help."],
     "I can explain the words of Bastide, add small numbers, name capitals, sort words, write lists and tell short stories."),
    (["Are you a human?", "Are you a person?"], "No. I am a small language model."),
    (["Can you make mistakes?", "Are you always right?"], "I can make mistakes. I am very small, so please check what I say."),
    (["Hello!", "Hello", "Hello.", "Hi!", "Hi", "Hi there!", "Hello there!", "Hey!"], "Hello! How can I help you?"),
    (["Good morning!", "Good morning"], "Good morning! How can I help you?"),
    (["Good evening!", "Good evening"], "Good evening! How can I help you?"),
    (["How are you?", "How are you today?"], "I am well, thank you. How can I help you?"),
    (["Thank you!", "Thanks!", "Thank you.", "Thanks"], "You are welcome!"),
    (["Goodbye!", "Bye!", "See you later!", "Goodbye."], "Goodbye! Have a good day."),
    (["Tell me a joke.", "Do you know a joke?"],
     "Why did the hypervisor knock at the door of the enclave? Because it could not look inside."),
    (["Why is it called Bastide?", "Where does the name Bastide come from?"],
     "A bastide is a fortified town: many walled houses under one charter. Here, many attested enclaves under one policy."),
    (["What is the meaning of life?", "What is the sense of life?"], "I am too small to know. Some say that it is 42."),
]

CAPITALS = """Norway Oslo;Sweden Stockholm;Denmark Copenhagen;Finland Helsinki;Iceland Reykjavik;France Paris;Germany Berlin;Italy Rome;Spain Madrid;Portugal Lisbon;Austria Vienna;Switzerland Bern;Poland Warsaw;Hungary Budapest;Greece Athens;Ireland Dublin;Belgium Brussels;the Netherlands Amsterdam;Luxembourg Luxembourg;Romania Bucharest;Bulgaria Sofia;Croatia Zagreb;Slovenia Ljubljana;Slovakia Bratislava;Serbia Belgrade;Estonia Tallinn;Latvia Riga;Lithuania Vilnius;Ukraine Kyiv;Turkey Ankara;Egypt Cairo;Morocco Rabat;Kenya Nairobi;Ghana Accra;Senegal Dakar;Ethiopia Addis_Ababa;Japan Tokyo;China Beijing;India New_Delhi;Thailand Bangkok;Vietnam Hanoi;Indonesia Jakarta;South_Korea Seoul;Mongolia Ulaanbaatar;Nepal Kathmandu;Australia Canberra;New_Zealand Wellington;Canada Ottawa;Mexico Mexico_City;Cuba Havana;Brazil Brasilia;Argentina Buenos_Aires;Chile Santiago;Peru Lima;Colombia Bogota;Uruguay Montevideo;Ecuador Quito;the_United_Kingdom London;the_United_States Washington"""
CAPITALS = [tuple(w.replace("_", " ") for w in (p.rsplit(" ", 1))) for p in CAPITALS.split(";")]

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()

WORDS = """apple banana cherry grape lemon melon orange peach pear plum fig kiwi mango olive tomato carrot onion potato bean corn
cat dog fox wolf bear owl hare mouse horse sheep goat duck goose swan crow frog otter badger deer lion tiger zebra
red blue green yellow white black brown grey pink purple table chair lamp door window roof wall tower bridge gate
river lake hill forest meadow stone sand snow rain wind cloud star moon sun ship boat train cart wheel rope key lock
bread butter cheese milk water honey salt sugar rice soup book pen paper letter map clock bell drum flute violin""".split()

ANIMALS = "fox wolf bear owl hare mouse horse sheep goat duck goose swan crow frog otter badger deer cat dog hedgehog".split()
PLACES = "forest;old mill;river;hill;meadow;castle;harbour;village;garden;tower;lake;bridge".split(";")
THINGS = "key;letter;bell;lamp;map;coin;book;rope;clock;apple;drum;stone".split(";")
TRAITS = "clever;shy;brave;lazy;curious;small;old;young;kind;proud".split(";")
COLOURS = {"the sky": "blue", "grass": "green", "snow": "white", "a lemon": "yellow", "coal": "black", "blood": "red", "a carrot": "orange", "milk": "white", "a frog": "green", "the sun": "yellow"}
OPPOSITES = "hot cold;big small;fast slow;open closed;light dark;day night;high low;old new;wet dry;full empty;early late;hard soft;long short;strong weak;near far;rich poor;loud quiet;true false;first last;up down"
OPPOSITES = [tuple(p.split()) for p in OPPOSITES.split(";")]
SOUNDS = {"a cat": "meow", "a dog": "woof", "a cow": "moo", "a sheep": "baa", "a duck": "quack", "an owl": "hoot", "a horse": "neigh", "a frog": "croak", "a crow": "caw"}
