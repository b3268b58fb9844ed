"""Text into portable text: the frozen alphabet, the frozen slug table, and the few functions that apply them.

A typed user name goes through `portable`, a typed character through `slug`; both end in the one alphabet of all
stores: ASCII letters and digits, `-`, `_`, `.`, and the letters, digits and combining marks of every script that are
their own NFKC form. What fits into templates, folders and budgets is the business of `naming`.

The tables are lists of code points of Unicode 14 (Python 3.11) and are never changed again, so that a newer Python,
which knows more letters, gives no name another spelling: what is outside them is replaced before anything is
normalized, and for what is inside Unicode promises that normalization and case folding stay as they are. Golden
vectors and a digest over the whole alphabet hold this (tests/core/golden_names.json).
"""

from __future__ import annotations

import re
from typing import Final
from unicodedata import normalize

# Ranges of code points, hexadecimal. ASCII is written in the patterns below.
# Letters, decimal digits and combining marks that are their own NFKC form.
KEPT: Final = """
c0-d6 d8-f6 f8-131 134-13e 141-148 14a-17e 180-1c3 1cd-1f0 1f4-2af 2b9-2c1 2c6-2d1 2ec 2ee 300-33f 342
345-34e 350-373 376-377 37b-37d 37f 386 388-38a 38c 38e-3a1 3a3-3cf 3d7-3ef 3f3 3f7-3f8 3fa-481 483-52f
531-556 559 560-586 588 591-5bd 5bf 5c1-5c2 5c4-5c5 5c7 5d0-5ea 5ef-5f2 610-61a 620-669 66e-674 679-6d3
6d5-6dc 6df-6e8 6ea-6fc 6ff 710-74a 74d-7b1 7c0-7f5 7fa 7fd 800-82d 840-85b 860-86a 870-887 889-88e 898-8e1
8e3-957 960-963 966-96f 971-983 985-98c 98f-990 993-9a8 9aa-9b0 9b2 9b6-9b9 9bc-9c4 9c7-9c8 9cb-9ce 9d7
9e0-9e3 9e6-9f1 9fc 9fe a01-a03 a05-a0a a0f-a10 a13-a28 a2a-a30 a32 a35 a38-a39 a3c a3e-a42 a47-a48 a4b-a4d
a51 a5c a66-a75 a81-a83 a85-a8d a8f-a91 a93-aa8 aaa-ab0 ab2-ab3 ab5-ab9 abc-ac5 ac7-ac9 acb-acd ad0 ae0-ae3
ae6-aef af9-aff b01-b03 b05-b0c b0f-b10 b13-b28 b2a-b30 b32-b33 b35-b39 b3c-b44 b47-b48 b4b-b4d b55-b57
b5f-b63 b66-b6f b71 b82-b83 b85-b8a b8e-b90 b92-b95 b99-b9a b9c b9e-b9f ba3-ba4 ba8-baa bae-bb9 bbe-bc2
bc6-bc8 bca-bcd bd0 bd7 be6-bef c00-c0c c0e-c10 c12-c28 c2a-c39 c3c-c44 c46-c48 c4a-c4d c55-c56 c58-c5a c5d
c60-c63 c66-c6f c80-c83 c85-c8c c8e-c90 c92-ca8 caa-cb3 cb5-cb9 cbc-cc4 cc6-cc8 cca-ccd cd5-cd6 cdd-cde
ce0-ce3 ce6-cef cf1-cf2 d00-d0c d0e-d10 d12-d44 d46-d48 d4a-d4e d54-d57 d5f-d63 d66-d6f d7a-d7f d81-d83
d85-d96 d9a-db1 db3-dbb dbd dc0-dc6 dca dcf-dd4 dd6 dd8-ddf de6-def df2-df3 e01-e32 e34-e3a e40-e4e e50-e59
e81-e82 e84 e86-e8a e8c-ea3 ea5 ea7-eb2 eb4-ebd ec0-ec4 ec6 ec8-ecd ed0-ed9 ede-edf f00 f18-f19 f20-f29 f35
f37 f39 f3e-f42 f44-f47 f49-f4c f4e-f51 f53-f56 f58-f5b f5d-f68 f6a-f6c f71-f72 f74 f7a-f80 f82-f84 f86-f92
f94-f97 f99-f9c f9e-fa1 fa3-fa6 fa8-fab fad-fb8 fba-fbc fc6 1000-1049 1050-109d 10a0-10c5 10c7 10cd
10d0-10fa 10fd-115e 1161-1248 124a-124d 1250-1256 1258 125a-125d 1260-1288 128a-128d 1290-12b0 12b2-12b5
12b8-12be 12c0 12c2-12c5 12c8-12d6 12d8-1310 1312-1315 1318-135a 135d-135f 1380-138f 13a0-13f5 13f8-13fd
1401-166c 166f-167f 1681-169a 16a0-16ea 16f1-16f8 1700-1715 171f-1734 1740-1753 1760-176c 176e-1770
1772-1773 1780-17b3 17b6-17d3 17d7 17dc-17dd 17e0-17e9 1810-1819 1820-1878 1880-18aa 18b0-18f5 1900-191e
1920-192b 1930-193b 1946-196d 1970-1974 1980-19ab 19b0-19c9 19d0-19d9 1a00-1a1b 1a20-1a5e 1a60-1a7c
1a7f-1a89 1a90-1a99 1aa7 1ab0-1ace 1b00-1b4c 1b50-1b59 1b6b-1b73 1b80-1bf3 1c00-1c37 1c40-1c49 1c4d-1c7d
1c80-1c88 1c90-1cba 1cbd-1cbf 1cd0-1cd2 1cd4-1cfa 1d00-1d2b 1d2f 1d3b 1d4e 1d6b-1d77 1d79-1d9a 1dc0-1e99
1e9c-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d 1f5f-1f70 1f72 1f74 1f76 1f78 1f7a 1f7c
1f80-1fb4 1fb6-1fba 1fbc 1fc2-1fc4 1fc6-1fc8 1fca 1fcc 1fd0-1fd2 1fd6-1fda 1fe0-1fe2 1fe4-1fea 1fec
1ff2-1ff4 1ff6-1ff8 1ffa 1ffc 20d0-20f0 2132 214e 2183-2184 2c00-2c7b 2c7e-2ce4 2ceb-2cf3 2d00-2d25 2d27
2d2d 2d30-2d67 2d7f-2d96 2da0-2da6 2da8-2dae 2db0-2db6 2db8-2dbe 2dc0-2dc6 2dc8-2dce 2dd0-2dd6 2dd8-2dde
2de0-2dff 2e2f 3005-3006 302a-302f 3031-3035 303b-303c 3041-3096 3099-309a 309d-309e 30a1-30fa 30fc-30fe
3105-312f 31a0-31bf 31f0-31ff 3400-4dbf 4e00-a48c a4d0-a4fd a500-a60c a610-a62b a640-a672 a674-a67d
a67f-a69b a69e-a6e5 a6f0-a6f1 a717-a71f a722-a76f a771-a788 a78b-a7ca a7d0-a7d1 a7d3 a7d5-a7d9 a7f5-a7f7
a7fa-a827 a82c a840-a873 a880-a8c5 a8d0-a8d9 a8e0-a8f7 a8fb a8fd-a92d a930-a953 a960-a97c a980-a9c0
a9cf-a9d9 a9e0-a9fe aa00-aa36 aa40-aa4d aa50-aa59 aa60-aa76 aa7a-aac2 aadb-aadd aae0-aaef aaf2-aaf6
ab01-ab06 ab09-ab0e ab11-ab16 ab20-ab26 ab28-ab2e ab30-ab5a ab60-ab68 ab70-abea abec-abed abf0-abf9
ac00-d7a3 d7b0-d7c6 d7cb-d7fb fa0e-fa0f fa11 fa13-fa14 fa1f fa21 fa23-fa24 fa27-fa29 fb1e fe20-fe2f fe73
10000-1000b 1000d-10026 10028-1003a 1003c-1003d 1003f-1004d 10050-1005d 10080-100fa 101fd 10280-1029c
102a0-102d0 102e0 10300-1031f 1032d-10340 10342-10349 10350-1037a 10380-1039d 103a0-103c3 103c8-103cf
10400-1049d 104a0-104a9 104b0-104d3 104d8-104fb 10500-10527 10530-10563 10570-1057a 1057c-1058a 1058c-10592
10594-10595 10597-105a1 105a3-105b1 105b3-105b9 105bb-105bc 10600-10736 10740-10755 10760-10767 10780
10800-10805 10808 1080a-10835 10837-10838 1083c 1083f-10855 10860-10876 10880-1089e 108e0-108f2 108f4-108f5
10900-10915 10920-10939 10980-109b7 109be-109bf 10a00-10a03 10a05-10a06 10a0c-10a13 10a15-10a17 10a19-10a35
10a38-10a3a 10a3f 10a60-10a7c 10a80-10a9c 10ac0-10ac7 10ac9-10ae6 10b00-10b35 10b40-10b55 10b60-10b72
10b80-10b91 10c00-10c48 10c80-10cb2 10cc0-10cf2 10d00-10d27 10d30-10d39 10e80-10ea9 10eab-10eac 10eb0-10eb1
10f00-10f1c 10f27 10f30-10f50 10f70-10f85 10fb0-10fc4 10fe0-10ff6 11000-11046 11066-11075 1107f-110ba 110c2
110d0-110e8 110f0-110f9 11100-11134 11136-1113f 11144-11147 11150-11173 11176 11180-111c4 111c9-111cc
111ce-111da 111dc 11200-11211 11213-11237 1123e 11280-11286 11288 1128a-1128d 1128f-1129d 1129f-112a8
112b0-112ea 112f0-112f9 11300-11303 11305-1130c 1130f-11310 11313-11328 1132a-11330 11332-11333 11335-11339
1133b-11344 11347-11348 1134b-1134d 11350 11357 1135d-11363 11366-1136c 11370-11374 11400-1144a 11450-11459
1145e-11461 11480-114c5 114c7 114d0-114d9 11580-115b5 115b8-115c0 115d8-115dd 11600-11640 11644 11650-11659
11680-116b8 116c0-116c9 11700-1171a 1171d-1172b 11730-11739 11740-11746 11800-1183a 118a0-118e9 118ff-11906
11909 1190c-11913 11915-11916 11918-11935 11937-11938 1193b-11943 11950-11959 119a0-119a7 119aa-119d7
119da-119e1 119e3-119e4 11a00-11a3e 11a47 11a50-11a99 11a9d 11ab0-11af8 11c00-11c08 11c0a-11c36 11c38-11c40
11c50-11c59 11c72-11c8f 11c92-11ca7 11ca9-11cb6 11d00-11d06 11d08-11d09 11d0b-11d36 11d3a 11d3c-11d3d
11d3f-11d47 11d50-11d59 11d60-11d65 11d67-11d68 11d6a-11d8e 11d90-11d91 11d93-11d98 11da0-11da9 11ee0-11ef6
11fb0 12000-12399 12480-12543 12f90-12ff0 13000-1342e 14400-14646 16800-16a38 16a40-16a5e 16a60-16a69
16a70-16abe 16ac0-16ac9 16ad0-16aed 16af0-16af4 16b00-16b36 16b40-16b43 16b50-16b59 16b63-16b77 16b7d-16b8f
16e40-16e7f 16f00-16f4a 16f4f-16f87 16f8f-16f9f 16fe0-16fe1 16fe3-16fe4 16ff0-16ff1 17000-187f7 18800-18cd5
18d00-18d08 1aff0-1aff3 1aff5-1affb 1affd-1affe 1b000-1b122 1b150-1b152 1b164-1b167 1b170-1b2fb 1bc00-1bc6a
1bc70-1bc7c 1bc80-1bc88 1bc90-1bc99 1bc9d-1bc9e 1cf00-1cf2d 1cf30-1cf46 1d165-1d169 1d16d-1d172 1d17b-1d182
1d185-1d18b 1d1aa-1d1ad 1d242-1d244 1da00-1da36 1da3b-1da6c 1da75 1da84 1da9b-1da9f 1daa1-1daaf 1df00-1df1e
1e000-1e006 1e008-1e018 1e01b-1e021 1e023-1e024 1e026-1e02a 1e100-1e12c 1e130-1e13d 1e140-1e149 1e14e
1e290-1e2ae 1e2c0-1e2f9 1e7e0-1e7e6 1e7e8-1e7eb 1e7ed-1e7ee 1e7f0-1e7fe 1e800-1e8c4 1e8d0-1e8d6 1e900-1e94b
1e950-1e959 20000-2a6df 2a700-2b738 2b740-2b81d 2b820-2cea1 2ceb0-2ebe0 30000-3134a
"""

# The combining marks among them: they need a base, and are dropped where they have none.
MARKS: Final = """
300-33f 342 345-34e 350-36f 483-489 591-5bd 5bf 5c1-5c2 5c4-5c5 5c7 610-61a 64b-65f 670 6d6-6dc 6df-6e4
6e7-6e8 6ea-6ed 711 730-74a 7a6-7b0 7eb-7f3 7fd 816-819 81b-823 825-827 829-82d 859-85b 898-89f 8ca-8e1
8e3-903 93a-93c 93e-94f 951-957 962-963 981-983 9bc 9be-9c4 9c7-9c8 9cb-9cd 9d7 9e2-9e3 9fe a01-a03 a3c
a3e-a42 a47-a48 a4b-a4d a51 a70-a71 a75 a81-a83 abc abe-ac5 ac7-ac9 acb-acd ae2-ae3 afa-aff b01-b03 b3c
b3e-b44 b47-b48 b4b-b4d b55-b57 b62-b63 b82 bbe-bc2 bc6-bc8 bca-bcd bd7 c00-c04 c3c c3e-c44 c46-c48 c4a-c4d
c55-c56 c62-c63 c81-c83 cbc cbe-cc4 cc6-cc8 cca-ccd cd5-cd6 ce2-ce3 d00-d03 d3b-d3c d3e-d44 d46-d48 d4a-d4d
d57 d62-d63 d81-d83 dca dcf-dd4 dd6 dd8-ddf df2-df3 e31 e34-e3a e47-e4e eb1 eb4-ebc ec8-ecd f18-f19 f35 f37
f39 f3e-f3f f71-f72 f74 f7a-f80 f82-f84 f86-f87 f8d-f92 f94-f97 f99-f9c f9e-fa1 fa3-fa6 fa8-fab fad-fb8
fba-fbc fc6 102b-103e 1056-1059 105e-1060 1062-1064 1067-106d 1071-1074 1082-108d 108f 109a-109d 135d-135f
1712-1715 1732-1734 1752-1753 1772-1773 17b6-17d3 17dd 1885-1886 18a9 1920-192b 1930-193b 1a17-1a1b
1a55-1a5e 1a60-1a7c 1a7f 1ab0-1ace 1b00-1b04 1b34-1b44 1b6b-1b73 1b80-1b82 1ba1-1bad 1be6-1bf3 1c24-1c37
1cd0-1cd2 1cd4-1ce8 1ced 1cf4 1cf7-1cf9 1dc0-1dff 20d0-20f0 2cef-2cf1 2d7f 2de0-2dff 302a-302f 3099-309a
a66f-a672 a674-a67d a69e-a69f a6f0-a6f1 a802 a806 a80b a823-a827 a82c a880-a881 a8b4-a8c5 a8e0-a8f1 a8ff
a926-a92d a947-a953 a980-a983 a9b3-a9c0 a9e5 aa29-aa36 aa43 aa4c-aa4d aa7b-aa7d aab0 aab2-aab4 aab7-aab8
aabe-aabf aac1 aaeb-aaef aaf5-aaf6 abe3-abea abec-abed fb1e fe20-fe2f 101fd 102e0 10376-1037a 10a01-10a03
10a05-10a06 10a0c-10a0f 10a38-10a3a 10a3f 10ae5-10ae6 10d24-10d27 10eab-10eac 10f46-10f50 10f82-10f85
11000-11002 11038-11046 11070 11073-11074 1107f-11082 110b0-110ba 110c2 11100-11102 11127-11134 11145-11146
11173 11180-11182 111b3-111c0 111c9-111cc 111ce-111cf 1122c-11237 1123e 112df-112ea 11300-11303 1133b-1133c
1133e-11344 11347-11348 1134b-1134d 11357 11362-11363 11366-1136c 11370-11374 11435-11446 1145e 114b0-114c3
115af-115b5 115b8-115c0 115dc-115dd 11630-11640 116ab-116b7 1171d-1172b 1182c-1183a 11930-11935 11937-11938
1193b-1193e 11940 11942-11943 119d1-119d7 119da-119e0 119e4 11a01-11a0a 11a33-11a39 11a3b-11a3e 11a47
11a51-11a5b 11a8a-11a99 11c2f-11c36 11c38-11c3f 11c92-11ca7 11ca9-11cb6 11d31-11d36 11d3a 11d3c-11d3d
11d3f-11d45 11d47 11d8a-11d8e 11d90-11d91 11d93-11d97 11ef3-11ef6 16af0-16af4 16b30-16b36 16f4f 16f51-16f87
16f8f-16f92 16fe4 16ff0-16ff1 1bc9d-1bc9e 1cf00-1cf2d 1cf30-1cf46 1d165-1d169 1d16d-1d172 1d17b-1d182
1d185-1d18b 1d1aa-1d1ad 1d242-1d244 1da00-1da36 1da3b-1da6c 1da75 1da84 1da9b-1da9f 1daa1-1daaf 1e000-1e006
1e008-1e018 1e01b-1e021 1e023-1e024 1e026-1e02a 1e130-1e136 1e2ae 1e2ec-1e2ef 1e8d0-1e8d6 1e944-1e94a
"""

# Full width, mathematical, circled and other dresses of what is kept; NFKC takes them off.
COMPATIBLE: Final = """
a8 aa af b2-b5 b8-ba bc-be 132-133 13f-140 149 17f 1c4-1cc 1f1-1f3 2b0-2b8 2d8-2dd 2e0-2e4 340-341 343-344
374 37a 384-385 3d0-3d6 3f0-3f2 3f4-3f5 3f9 587 675-678 958-95f 9dc-9dd 9df a33 a36 a59-a5b a5e b5c-b5d e33
eb3 edc-edd f43 f4d f52 f57 f5c f69 f73 f75-f79 f81 f93 f9d fa2 fa7 fac fb9 10fc 1d2c-1d2e 1d30-1d3a
1d3c-1d4d 1d4f-1d6a 1d78 1d9b-1dbf 1e9a-1e9b 1f71 1f73 1f75 1f77 1f79 1f7b 1f7d 1fbb 1fbd-1fc1 1fc9 1fcb
1fcd-1fcf 1fd3 1fdb 1fdd-1fdf 1fe3 1feb 1fed-1fee 1ff9 1ffb 1ffd-1ffe 2017 2024-2026 203e 2070-2071
2074-2079 207f-2089 2090-209c 20a8 2100-2103 2105-2107 2109-2113 2115-2116 2119-211d 2120-2122 2124 2126
2128 212a-212d 212f-2131 2133-2139 213b-213f 2145-2149 2150-217f 2189 2460-24ea 2adc 2c7c-2c7d 2d6f 2e9f
2ef3 2f00-2fd5 3038-303a 309b-309c 309f 30ff 3131-3163 3165-318e 3192-319f 3200-321e 3220-3247 3250-327e
3280-33ff a69c-a69d a770 a7f2-a7f4 a7f8-a7f9 ab5c-ab5f ab69 f900-fa0d fa10 fa12 fa15-fa1e fa20 fa22
fa25-fa26 fa2a-fa6d fa70-fad9 fb00-fb06 fb13-fb17 fb1d fb1f-fb28 fb2a-fb36 fb38-fb3c fb3e fb40-fb41
fb43-fb44 fb46-fbb1 fbd3-fd3d fd50-fd8f fd92-fdc7 fdf0-fdfc fe19 fe30 fe33-fe34 fe49-fe4f fe52 fe70-fe72
fe74 fe76-fefc ff0e ff10-ff19 ff21-ff3a ff3f ff41-ff5a ff66-ff9f ffa1-ffbe ffc2-ffc7 ffca-ffcf ffd2-ffd7
ffda-ffdc ffe3 10781-10785 10787-107b0 107b2-107ba 1d15e-1d164 1d1bb-1d1c0 1d400-1d454 1d456-1d49c
1d49e-1d49f 1d4a2 1d4a5-1d4a6 1d4a9-1d4ac 1d4ae-1d4b9 1d4bb 1d4bd-1d4c3 1d4c5-1d505 1d507-1d50a 1d50d-1d514
1d516-1d51c 1d51e-1d539 1d53b-1d53e 1d540-1d544 1d546 1d54a-1d550 1d552-1d6a5 1d6a8-1d6c0 1d6c2-1d6da
1d6dc-1d6fa 1d6fc-1d714 1d716-1d734 1d736-1d74e 1d750-1d76e 1d770-1d788 1d78a-1d7a8 1d7aa-1d7c2 1d7c4-1d7cb
1d7ce-1d7ff 1ee00-1ee03 1ee05-1ee1f 1ee21-1ee22 1ee24 1ee27 1ee29-1ee32 1ee34-1ee37 1ee39 1ee3b 1ee42 1ee47
1ee49 1ee4b 1ee4d-1ee4f 1ee51-1ee52 1ee54 1ee57 1ee59 1ee5b 1ee5d 1ee5f 1ee61-1ee62 1ee64 1ee67-1ee6a
1ee6c-1ee72 1ee74-1ee77 1ee79-1ee7c 1ee7e 1ee80-1ee89 1ee8b-1ee9b 1eea1-1eea3 1eea5-1eea9 1eeab-1eebb
1f100-1f10a 1f110-1f12e 1f130-1f14f 1f16a-1f16c 1f190 1f200-1f202 1f210-1f23b 1f240-1f248 1f250-1f251
1fbf0-1fbf9 2f800-2fa1d
"""

# Dropped without a trace: apostrophes, soft hyphen, joiners, zero width, bidirectional marks, variation
# selectors, tags.
IGNORED: Final = """
27 ad 34f 61c 115f-1160 17b4-17b5 180b-180f 200b-200f 2018-2019 202a-202e 2060-206f 3164 fe00-fe0f feff ffa0
e0000-e0fff
"""

# Lower case to ASCII, letter by letter. A letter composed of one of these (or of an ASCII one) and diacritics
# needs no entry.
_LETTERS: Final = """
æ=ae ð=d ø=o þ=th đ=d ħ=h ı=i ĸ=k ł=l ŋ=ng œ=oe ŧ=t ƀ=b ƃ=b ƈ=c ƌ=d ǝ=e ə=e ɛ=e ƒ=f ɣ=g ƕ=hv ɩ=i ƙ=k ƚ=l ƞ=n ɔ=o
ƣ=gh ƥ=p ƫ=t ƭ=t ʊ=u ƴ=y ƶ=z ʒ=zh ƿ=w ǥ=g ȝ=g ȡ=d ȣ=ou ȥ=z ȴ=l ȵ=n ȶ=t ȷ=j ȼ=c ȿ=s ɀ=z ɇ=e ɉ=j ɋ=q ɍ=r ɏ=y ɐ=a ɑ=a
ɓ=b ɕ=c ɖ=d ɗ=d ɠ=g ɡ=g ɦ=h ɨ=i ɪ=i ɫ=l ɬ=l ɭ=l ɱ=m ɲ=n ɳ=n ɴ=n ɼ=r ɽ=r ɾ=r ʀ=r ʂ=s ʃ=sh ʈ=t ʉ=u ʋ=v ʏ=y ʐ=z ʑ=z
ʙ=b ʜ=h ʝ=j ʟ=l ʠ=q ᴀ=a ᴄ=c ᴅ=d ᴇ=e ᴊ=j ᴋ=k ᴍ=m ᴏ=o ᴘ=p ᴛ=t ᴜ=u ᴠ=v ᴡ=w ᴢ=z ỿ=y ⱡ=l ⱥ=a ⱦ=t ⱨ=h ⱪ=k ⱬ=z ⱳ=w
ʔ= ʹ= ʺ= ʻ= ʼ= ʽ= ˈ= ՙ=
α=a β=v γ=g δ=d ε=e ζ=z η=i θ=th ι=i κ=k λ=l μ=m ν=n ξ=x ο=o π=p ρ=r σ=s τ=t υ=y φ=f χ=ch ψ=ps ω=o
а=a б=b в=v г=g ґ=g ѓ=gj д=d ђ=dj е=e ё=yo є=ye ж=zh з=z ѕ=dz и=i й=y і=i ї=yi ј=j к=k ќ=kj л=l љ=lj м=m н=n
њ=nj о=o п=p р=r с=s т=t ћ=c у=u ў=u ф=f х=kh ц=ts ч=ch џ=dz ш=sh щ=shch ъ= ы=y ь= э=e ю=yu я=ya ѣ=e ѳ=f ѵ=i
ә=a ғ=g җ=zh қ=k ҝ=g ң=n ө=o ү=u ұ=u ҳ=h ҷ=j ҹ=ch һ=h ӏ=
ա=a բ=b գ=g դ=d ե=e զ=z է=e ը=y թ=t ժ=zh ի=i լ=l խ=kh ծ=ts կ=k հ=h ձ=dz ղ=gh ճ=ch մ=m յ=y ն=n շ=sh ո=o չ=ch
պ=p ջ=j ռ=r ս=s վ=v տ=t ր=r ց=ts ւ=v փ=p ք=k օ=o ֆ=f
ა=a ბ=b გ=g დ=d ე=e ვ=v ზ=z თ=t ი=i კ=k ლ=l მ=m ნ=n ო=o პ=p ჟ=zh რ=r ს=s ტ=t უ=u ფ=p ქ=k ღ=gh ყ=q შ=sh ჩ=ch
ც=ts ძ=dz წ=ts ჭ=ch ხ=kh ჯ=j ჰ=h
"""
# Two letters that are one sound (Greek with and without accent, Armenian).
_PAIRS: Final = (("ου", "u"), ("ού", "u"), ("ու", "u"))


def _class(ranges: str) -> str:
    """The inside of a regular expression's `[...]` for a table of ranges."""
    bounds = (span.partition("-") for span in ranges.split())
    return "".join(f"{chr(int(low, 16))}-{chr(int(high or low, 16))}" for low, _, high in bounds)


_ASCII: Final = r"A-Za-z0-9._\-"
_IGNORED: Final = re.compile(f"[{_class(IGNORED)}]+")
_NOT_TYPED: Final = re.compile(f"[^{_ASCII}{_class(KEPT)}{_class(COMPATIBLE)}]+")
_NOT_KEPT: Final = re.compile(f"[^{_ASCII}{_class(KEPT)}]+")
_BASELESS: Final = re.compile(f"(^|[-_.])[{_class(MARKS)}]+")
_DASHES: Final = re.compile(r"\.*-[-.]*")
_DOTS: Final = re.compile(r"\.{2,}")
_DIACRITICS: Final = re.compile("(?<=[a-z0-9])[\u0300-\u036f]+")
_ASCII_OF: Final = {ord(pair[0]): pair[2:] for pair in _LETTERS.split()}


def fold(text: str) -> str:
    """What two names have in common when a disk or a person may take them for the same: NFC, casefold, NFC."""
    return text.lower() if text.isascii() else normalize("NFC", normalize("NFC", text).casefold())


def portable(typed: str) -> str:
    """The typed text in the portable alphabet, its case kept. Empty if nothing remains.

    Apostrophes and invisible characters vanish; full-width and decorated letters become plain (NFKC); everything else
    that is not in the alphabet (spaces, separators, control characters, emoji, punctuation) becomes `-`. Runs of `-`
    and of dots become one, `-` and dots at both ends and combining marks without a base vanish.
    """
    known = _NOT_TYPED.sub("-", _IGNORED.sub("", typed))
    return _tidy(_NOT_KEPT.sub("-", normalize("NFKC", known)))


def slug(typed: str) -> str:
    """The typed text as words of lower-case ASCII joined by `-`. Empty if nothing remains.

    Latin, Cyrillic, Greek, Armenian and Georgian letters are written in ASCII by the frozen table, their diacritics
    dropped; letters and digits that it does not know are kept, folded. `_` stays, a dot becomes `-`.
    """
    text = fold(portable(typed))
    for pair, ascii_letters in _PAIRS:
        text = text.replace(pair, ascii_letters)
    letters = normalize("NFD", text.translate(_ASCII_OF)).translate(_ASCII_OF)
    plain = normalize("NFC", _DIACRITICS.sub("", letters))
    return _tidy(plain.replace(".", "-"))


def _tidy(text: str) -> str:
    based = _BASELESS.sub(r"\1", text)
    return _DOTS.sub(".", _DASHES.sub("-", based)).strip("-.")
