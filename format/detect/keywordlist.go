package detect

// macieKeywords are the keywords of Macie's managed data identifiers, as its user guide lists them ("Keyword requirements for
// managed data identifiers" and the tables of each category). The guide says that its lists include these words, so they are
// the least that Macie knows.
var macieKeywords = [...]struct{ ids, words string }{
	{"AWS_CREDENTIALS",
		"aws_secret_access_key|credentials|secret access key|secret key|set-awscredential"},
	{"GCP_API_KEY",
		"G_PLACES_KEY|GCP api key|GCP key|google cloud key|google-api-key|google-cloud-apikeys|GOOGLEKEY|" +
			"X-goog-api-key"},
	{"BANK_ACCOUNT_NUMBER",
		"bank account|bank acct|checking account|checking acct|deposit account|deposit acct|savings account|" +
			"savings acct|chequing account|chequing acct"},
	{"FRANCE_BANK_ACCOUNT_NUMBER",
		"account code|account number|accountno#|accountnumber#|bban|code bancaire|compte bancaire|" +
			"customer account id|customer account number|customer bank account id|iban|numéro de compte"},
	{"GERMANY_BANK_ACCOUNT_NUMBER",
		"account code|account number|accountno#|accountnumber#|bankleitzahl|bban|customer account id|" +
			"customer account number|customer bank account id|geheimzahl|iban|kartennummer|kontonummer|" +
			"kreditkartennummer|sepa"},
	{"ITALY_BANK_ACCOUNT_NUMBER",
		"account code|account number|accountno#|accountnumber#|bban|codice bancario|conto bancario|" +
			"customer account id|customer account number|customer bank account id|iban|numero di conto"},
	{"SPAIN_BANK_ACCOUNT_NUMBER",
		"account code|account number|accountno#|accountnumber#|bban|código cuenta|código cuenta bancaria|" +
			"cuenta cliente id|customer account ID|customer account number|customer bank account id|iban|" +
			"número cuenta bancaria cliente|número cuenta cliente"},
	{"UK_BANK_ACCOUNT_NUMBER",
		"account code|account number|accountno#|accountnumber#|bban|customer account id|" +
			"customer account number|customer bank account id|iban|sepa"},
	{"CREDIT_CARD_EXPIRATION",
		"exp d|exp m|exp y|expiration|expiry"},
	{"CREDIT_CARD_MAGNETIC_STRIPE",
		"card data|iso7813|mag|magstripe|stripe|swipe"},
	{"CREDIT_CARD_NUMBER",
		"account number|american express|amex|bank card|c card|card|ccn|check card|cred card|credit|" +
			"credit card|credit cards|credit no|credit num|dankort|debit|debit card|debit no|debit num|" +
			"diners club|discover|electron|japanese card bureau|jcb|mastercard|mc|pan|payment account number|" +
			"payment card number|pcn|pmnt #|pmnt card|pmnt no|pmnt number|union pay|visa|cc #"},
	{"CREDIT_CARD_SECURITY_CODE",
		"card id|card identification code|card identification number|card security code|card validation code|" +
			"card validation number|card verification data|card verification value|cvc|cvc2|cvv|cvv2|" +
			"elo verification code"},
	{"US_DRUG_ENFORCEMENT_AGENCY_NUMBER",
		"dea number|dea registration"},
	{"USA_HEALTH_INSURANCE_CLAIM_NUMBER",
		"health insurance claim number|hic no|hic no.|hic number|hic#|hicn|hicn#.|hicno#"},
	{"CANADA_HEALTH_NUMBER",
		"canada healthcare number|msp number|personal healthcare number|phn|soins de santé"},
	{"EUROPEAN_HEALTH_INSURANCE_CARD_NUMBER",
		"assicurazione sanitaria numero|carta assicurazione numero|carte d’assurance maladie|" +
			"carte européenne d'assurance maladie|ceam|ehic|ehic#|finlandehicnumber#|gesundheitskarte|hälsokort|" +
			"health card|health card number|health insurance card|health insurance number|insurance card number|" +
			"krankenversicherungskarte|krankenversicherungsnummer|medical account number|numero conto medico|" +
			"numéro d’assurance maladie|numéro de carte d’assurance|numéro de compte medical|" +
			"número de cuenta médica|número de seguro de salud|número de tarjeta de seguro|sairaanhoitokortin|" +
			"sairausvakuutuskortti|sairausvakuutusnumero|sjukförsäkring nummer|sjukförsäkringskort|" +
			"suomi ehic-numero|tarjeta de salud|terveyskortti|tessera sanitaria assicurazione numero|" +
			"versicherungsnummer"},
	{"FINLAND_EUROPEAN_HEALTH_INSURANCE_NUMBER",
		"ehic|ehic#|finland health insurance card|finlandehicnumber#|finska sjukförsäkringskort|hälsokort|" +
			"health card|health card number|health insurance card|health insurance number|sairaanhoitokortin|" +
			"sairausvakuutuskortti|sairausvakuutusnumero|sjukförsäkring nummer|sjukförsäkringskort|" +
			"suomen sairausvakuutuskortti|suomi ehic-numero|terveyskortti"},
	{"FRANCE_HEALTH_INSURANCE_NUMBER",
		"carte d'assuré social|carte vitale|insurance card"},
	{"UK_NHS_NUMBER",
		"national health service|NHS"},
	{"USA_MEDICARE_BENEFICIARY_IDENTIFIER",
		"mbi|medicare beneficiary"},
	{"USA_HEALTHCARE_PROCEDURE_CODE",
		"current procedural terminology|hcpcs|healthcare common procedure coding system"},
	{"USA_NATIONAL_DRUG_CODE",
		"national drug code|ndc"},
	{"USA_NATIONAL_PROVIDER_IDENTIFIER",
		"hipaa|n.p.i|national provider|npi"},
	{"MEDICAL_DEVICE_UDI",
		"blood|blood bag|dev id|device id|device identifier|gs1|hibcc|iccbba|med|udi|unique device id|" +
			"unique device identifier"},
	{"DATE_OF_BIRTH",
		"bday|b-day|birth date|birthday|date of birth|dob"},
	{"UK_ELECTORAL_ROLL_NUMBER",
		"electoral #|electoral number|electoral roll #|electoral roll no.|electoral roll number|" +
			"electoralrollno"},
	{"LATITUDE_LONGITUDE",
		"coordinate|coordinates|lat long|latitude longitude|position"},
	{"BRAZIL_CEP_CODE",
		"cep|código de endereçamento postal|codigo de endereçamento postal|código postal|codigo postal"},
	{"UK_NATIONAL_INSURANCE_NUMBER",
		"insurance no.|insurance number|insurance#|national insurance number|nationalinsurance#|" +
			"nationalinsurancenumber|nin|nino"},
	{"CANADA_NATIONAL_IDENTIFICATION_NUMBER",
		"carte résident permanent|numéro carte résident permanent|numéro résident permanent|" +
			"permanent resident card|permanent resident card number|permanent resident no|permanent resident no.|" +
			"permanent resident number|pr no|pr no.|pr non|pr number|résident permanent no.|" +
			"résident permanent non"},
	{"BRAZIL_PHONE_NUMBER",
		"cell|contact|fax|fax number|mobile|phone|phone number|tel|telephone|telephone number|cel|celular|" +
			"fone|móvel|número residencial|numero residencial|telefone"},
	{"FRANCE_PHONE_NUMBER|GERMANY_PHONE_NUMBER|ITALY_PHONE_NUMBER|PHONE_NUMBER|SPAIN_PHONE_NUMBER|UK_PHONE_NUMBER",
		"cell|contact|fax|fax number|mobile|phone|phone number|tel|telephone|telephone number"},
	{"ARGENTINA_TARJETA_SUBE",
		"sistema único de boleto electrónico|sube"},
	{"CANADA_SOCIAL_INSURANCE_NUMBER",
		"canadian id|numéro d'assurance sociale|sin|social insurance number"},
	{"SPAIN_SOCIAL_SECURITY_NUMBER",
		"número de la seguridad social|social security no.|social security number|socialsecurityno#|ssn|ssn#"},
	{"USA_SOCIAL_SECURITY_NUMBER",
		"social security|ss#|ssn"},
	{"VEHICLE_IDENTIFICATION_NUMBER",
		"Fahrgestellnummer|niv|numarul de identificare|numarul seriei de sasiu|numer VIN|" +
			"Número de Identificação do Veículo|Número de Identificación de Automóviles|" +
			"numéro d'identification du véhicule|vehicle identification number|vin|VIN numeris"},
	{"ARGENTINA_DNI_NUMBER",
		"dni|dni#|d.n.i.|documento nacional de identidad"},
	{"BRAZIL_RG_NUMBER",
		"registro geral|rg"},
	{"CHILE_RUT_NUMBER",
		"identidad número|nacional identidad|national unique role|nationaluniqueroleID#|número identificación|" +
			"rol único nacional|rol único tributario|run|run#|r.u.n.|rut|rut#|r.u.t.|unique national number|" +
			"unique national role|unique tax registry|unique tax role|unique tributary number|" +
			"unique tributary role"},
	{"COLOMBIA_CITIZENSHIP_CARD_NUMBER",
		"cédula de ciudadanía|documento de identificación"},
	{"FRANCE_NATIONAL_IDENTIFICATION_NUMBER",
		"assurance sociale|carte nationale d’identité|cni|code sécurité sociale|French social security number|" +
			"fssn#|insee|insurance number|national id number|nationalid#|numéro d'assurance|sécurité sociale|" +
			"sécurité sociale non.|sécurité sociale numéro|social|social security|social security number|" +
			"socialsecuritynumber|ss#|ssn|ssn#"},
	{"GERMANY_NATIONAL_IDENTIFICATION_NUMBER",
		"ausweisnummer|id number|identification number|identity number|insurance number|personal id|" +
			"personalausweis"},
	{"INDIA_AADHAAR_NUMBER",
		"aadhaar|aadhar|adhaar|uidai"},
	{"ITALY_NATIONAL_IDENTIFICATION_NUMBER",
		"codice fiscal|dati anagrafici|ehic|health card|health insurance card|p. iva|partita i.v.a.|" +
			"personal data|tax code|tessera sanitaria"},
	{"MEXICO_CURP_NUMBER",
		"clave personal identidad|clave única|clave única de registro de población|clavepersonalIdentidad|" +
			"curp|registration code|registry code|personal identidad clave|population code"},
	{"SPAIN_DNI_NUMBER",
		"dni|dni#|dninúmero#|documento nacional de identidad|identidad único|identidadúnico#|insurance number|" +
			"national identification number|national identity|nationalid#|nationalidno#|número nacional identidad|" +
			"personal identification number|personal identity no|unique identity number|uniqueid#"},
	{"CANADA_PASSPORT_NUMBER",
		"passeport|passeport#|passport|passport#|passportno|passportno#"},
	{"FRANCE_PASSPORT_NUMBER",
		"numéro de passeport|passeport|passeport #|passeport n °|passeport non"},
	{"GERMANY_PASSPORT_NUMBER",
		"ausstellungsdatum|ausstellungsort|geburtsdatum|passport|passports|reisepass|reisepass–nr|" +
			"reisepassnummer"},
	{"ITALY_PASSPORT_NUMBER",
		"italian passport number|numéro passeport|numéro passeport italien|passaporto|passaporto italiana|" +
			"passaporto numero|passport number|repubblica italiana passaporto"},
	{"SPAIN_PASSPORT_NUMBER",
		"españa pasaporte|libreta pasaporte|número pasaporte|pasaporte|passport|passport book|passport no|" +
			"passport number|spain passport"},
	{"UK_PASSPORT_NUMBER",
		"passeport #|passeport n °|passeport non|passeportn °|passport #|passport no|passport number|" +
			"passport#|passportid"},
	{"USA_PASSPORT_NUMBER",
		"passport|travel document"},
	{"ARGENTINA_INDIVIDUAL_TAX_IDENTIFICATION_NUMBER|ARGENTINA_ORGANIZATION_TAX_IDENTIFICATION_NUMBER",
		"argentina taxpayer id|clave única de identificación tributaria|cuil|c.u.i.l|cuit|c.u.i.t|" +
			"número de identificación fiscal|número de contribuyente|unified labor identification code"},
	{"AUSTRALIA_TAX_FILE_NUMBER",
		"tax file number|tfn"},
	{"BRAZIL_CNPJ_NUMBER|BRAZIL_CPF_NUMBER",
		"cadastro de pessoa física|cadastro de pessoa fisica|cadastro de pessoas físicas|" +
			"cadastro de pessoas fisicas|cadastro nacional da pessoa jurídica|" +
			"cadastro nacional da pessoa juridica|cnpj|cpf"},
	{"COLOMBIA_INDIVIDUAL_NIT_NUMBER|COLOMBIA_ORGANIZATION_NIT_NUMBER",
		"nit|nit.|nit#|n.i.t."},
	{"FRANCE_TAX_IDENTIFICATION_NUMBER",
		"numéro d'identification fiscal|tax id|tax identification number|tax number|tin|tin#"},
	{"GERMANY_TAX_IDENTIFICATION_NUMBER",
		"identifikationsnummer|steuer id|steueridentifikationsnummer|steuernummer|tax id|" +
			"tax identification number|tax number"},
	{"INDIA_PERMANENT_ACCOUNT_NUMBER",
		"e-pan|pan card|pan number|permanent account number"},
	{"MEXICO_INDIVIDUAL_RFC_NUMBER|MEXICO_ORGANIZATION_RFC_NUMBER",
		"código del registro federal de contribuyentes|identificación de impuestos|" +
			"identificacion de impuestos|impuesto al valor agregado|iva|iva#|i.v.a.|" +
			"registro federal de contribuyentes|rfc|rfc#|r.f.c."},
	{"SPAIN_NIE_NUMBER|SPAIN_NIF_NUMBER|SPAIN_TAX_IDENTIFICATION_NUMBER",
		"cif|cif número|cifnúmero#|nie|nif|número de contribuyente|número de identidad de extranjero|" +
			"número de identificación fiscal|número de impuesto corporativo|personal tax number|tax id|" +
			"tax identification number|tax number|tin|tin#"},
	{"UK_TAX_IDENTIFICATION_NUMBER",
		"paye|tax id|tax id no.|tax id number|tax identification|tax identification#|tax no.|tax number|" +
			"tax reference|tax#|taxid#|temporary reference number|tin|trn|unique tax reference|" +
			"unique taxpayer reference|utr"},
	{"USA_INDIVIDUAL_TAX_IDENTIFICATION_NUMBER",
		"i.t.i.n.|individual taxpayer identification number|itin"},
	{"AUSTRALIA_DRIVERS_LICENSE",
		"dl#|dl:|dlno#|driver licence|driver license|driver permit|drivers lic.|drivers licence|" +
			"driver's licence|drivers license|driver's license|drivers permit|driver's permit|" +
			"drivers permit number|driving licence|driving license|driving permit"},
	{"AUSTRIA_DRIVERS_LICENSE",
		"führerschein|fuhrerschein|führerschein republik österreich|fuhrerschein republik osterreich"},
	{"BELGIUM_DRIVERS_LICENSE",
		"fuehrerschein|fuehrerschein- nr|fuehrerscheinnummer|fuhrerschein|führerschein|fuhrerschein- nr|" +
			"führerschein- nr|fuhrerscheinnummer|führerscheinnummer|numéro permis conduire|permis de conduire|" +
			"rijbewijs|rijbewijsnummer"},
	{"BULGARIA_DRIVERS_LICENSE",
		"превозно средство|свидетелство за управление на моторно|свидетелство за управление на мпс|сумпс|" +
			"шофьорска книжка"},
	{"CANADA_DRIVERS_LICENSE",
		"dl#|dl:|dlno#|driver licence|driver licences|driver license|driver licenses|driver permit|" +
			"drivers lic.|drivers licence|driver's licence|drivers licences|driver's licences|drivers license|" +
			"driver's license|drivers licenses|driver's licenses|drivers permit|driver's permit|" +
			"drivers permit number|driving licence|driving license|driving permit|permis de conduire"},
	{"CROATIA_DRIVERS_LICENSE",
		"vozačka dozvola"},
	{"CYPRUS_DRIVERS_LICENSE",
		"άδεια οδήγησης"},
	{"CZECHIA_DRIVERS_LICENSE",
		"číslo licence|císlo licence řidiče|číslo řidičského průkazu|ovladače lic.|povolení k jízdě|" +
			"povolení řidiče|řidiči povolení|řidičský prúkaz|řidičský průkaz"},
	{"DENMARK_DRIVERS_LICENSE",
		"kørekort|kørekortnummer"},
	{"DRIVERS_LICENSE|UK_DRIVERS_LICENSE",
		"dl#|dl:|dlno#|driver licence|driver licences|driver license|driver licenses|driver permit|" +
			"drivers lic.|drivers licence|driver's licence|drivers licences|driver's licences|drivers license|" +
			"driver's license|drivers licenses|driver's licenses|drivers permit|driver's permit|" +
			"drivers permit number|driving licence|driving license|driving permit"},
	{"ESTONIA_DRIVERS_LICENSE",
		"juhi litsentsi number|juhiloa number|juhiluba|juhiluba number"},
	{"FINLAND_DRIVERS_LICENSE",
		"ajokortin numero|ajokortti|förare lic.|körkort|körkort nummer|kuljettaja lic.|permis de conduire"},
	{"FRANCE_DRIVERS_LICENSE",
		"permis de conduire"},
	{"GERMANY_DRIVERS_LICENSE",
		"fuehrerschein|fuehrerschein- nr|fuehrerscheinnummer|fuhrerschein|führerschein|fuhrerschein- nr|" +
			"führerschein- nr|fuhrerscheinnummer|führerscheinnummer"},
	{"GREECE_DRIVERS_LICENSE",
		"δεια οδήγησης|adeia odigisis"},
	{"HUNGARY_DRIVERS_LICENSE",
		"illesztőprogramok lic|jogosítvány|jogsi|licencszám|vezető engedély|vezetői engedély"},
	{"INDIA_DRIVERS_LICENSE",
		"driver licence|driver licences|driver license|driver licenses|drivers lic.|drivers licence|" +
			"driver's licence|drivers licences|driver's licences|drivers license|driver's license|" +
			"drivers licenses|driver's licenses|driving licence|driving license"},
	{"IRELAND_DRIVERS_LICENSE",
		"ceadúnas tiomána"},
	{"ITALY_DRIVERS_LICENSE",
		"patente di guida|patente di guida numero|patente guida|patente guida numero"},
	{"LATVIA_DRIVERS_LICENSE",
		"autovadītāja apliecība|licences numurs|vadītāja apliecība|vadītāja apliecības numurs|" +
			"vadītāja atļauja|vadītāja licences numurs|vadītāji lic."},
	{"LITHUANIA_DRIVERS_LICENSE",
		"vairuotojo pažymėjimas"},
	{"LUXEMBOURG_DRIVERS_LICENSE",
		"fahrerlaubnis|führerschäin"},
	{"MALTA_DRIVERS_LICENSE",
		"liċenzja tas-sewqan"},
	{"NETHERLANDS_DRIVERS_LICENSE",
		"permis de conduire|rijbewijs|rijbewijsnummer"},
	{"POLAND_DRIVERS_LICENSE",
		"numer licencyjny|prawo jazdy|zezwolenie na prowadzenie"},
	{"PORTUGAL_DRIVERS_LICENSE",
		"carta de condução|carteira de habilitação|carteira de motorist|carteira habilitação|" +
			"carteira motorist|licença condução|licença de condução|número de licença|número licença|" +
			"permissão condução|permissão de condução"},
	{"ROMANIA_DRIVERS_LICENSE",
		"numărul permisului de conducere|permis de conducere"},
	{"SLOVAKIA_DRIVERS_LICENSE",
		"číslo licencie|číslo vodičského preukazu|ovládače lic.|povolenia vodičov|povolenie jazdu|" +
			"povolenie na jazdu|povolenie vodiča|vodičský preukaz"},
	{"SLOVENIA_DRIVERS_LICENSE",
		"vozniško dovoljenje"},
	{"SPAIN_DRIVERS_LICENSE",
		"carnet conducer|el carnet de conducer|licencia conducer|licencia de manejo|número carnet conducer|" +
			"número de carnet de conducer|número de permiso conducer|número de permiso de conducer|" +
			"número licencia conducer|número permiso conducer|permiso conducción|permiso conducer|" +
			"permiso de conducción"},
	{"SWEDEN_DRIVERS_LICENSE",
		"ajokortin numero|dlno# ajokortti|drivere lic.|förare lic.|körkort|körkort nummer|körkortsnummer|" +
			"kuljettajat lic."},
}
