package testdb

// XALTTables makes the tables of XALT's own database, as facts: names, types, and
// keys but those for uniqueness, which old databases lack.
var XALTTables = []string{
	`CREATE TABLE xalt_link (link_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, uuid CHAR(36) NOT NULL, hash_id CHAR(40) NOT NULL, date DATETIME NOT NULL,
link_program VARCHAR(64) NOT NULL, link_path VARCHAR(1024) NOT NULL, link_module_name VARCHAR(64), link_line BLOB, cwd VARCHAR(1024), build_user VARCHAR(64) NOT NULL,
build_syshost VARCHAR(64) NOT NULL, build_epoch DOUBLE NOT NULL, exec_path VARCHAR(1024) NOT NULL, KEY (date))`,
	`CREATE TABLE xalt_object (obj_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, object_path VARCHAR(1024) NOT NULL, syshost VARCHAR(64) NOT NULL, hash_id CHAR(40) NOT NULL,
module_name VARCHAR(64), timestamp TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP, lib_type CHAR(2) NOT NULL, KEY (hash_id), KEY (object_path(128), hash_id, syshost))`,
	`CREATE TABLE join_link_object (join_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, obj_id INT UNSIGNED NOT NULL, link_id INT UNSIGNED NOT NULL, date DATE NOT NULL, KEY (link_id), KEY (obj_id))`,
	`CREATE TABLE xalt_run (run_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, job_id CHAR(64) NOT NULL, run_uuid CHAR(36) NOT NULL, date DATETIME NOT NULL,
syshost VARCHAR(64) NOT NULL, uuid CHAR(36), hash_id CHAR(40) NOT NULL, account VARCHAR(255) NOT NULL, exec_type CHAR(7) NOT NULL, start_time DOUBLE NOT NULL, end_time DOUBLE NOT NULL,
run_time DOUBLE NOT NULL, probability DOUBLE NOT NULL, num_cores INT UNSIGNED NOT NULL, num_nodes INT UNSIGNED NOT NULL, num_threads SMALLINT UNSIGNED NOT NULL, num_gpus INT UNSIGNED NOT NULL,
queue VARCHAR(255) NOT NULL, sum_runs INT UNSIGNED NOT NULL, sum_time DOUBLE NOT NULL, user VARCHAR(255) NOT NULL, exec_path VARCHAR(2048) NOT NULL, module_name VARCHAR(64),
cwd VARCHAR(1024) NOT NULL, cmdline BLOB NOT NULL, container VARCHAR(80), KEY (run_uuid), KEY (date), KEY (job_id, syshost))`,
	`CREATE TABLE join_run_object (join_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, obj_id INT UNSIGNED NOT NULL, run_id INT UNSIGNED NOT NULL, date DATE NOT NULL, KEY (run_id), KEY (obj_id))`,
	`CREATE TABLE xalt_env_name (env_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, env_name VARCHAR(64) NOT NULL UNIQUE)`,
	`CREATE TABLE join_run_env (join_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, env_id INT UNSIGNED NOT NULL, run_id INT UNSIGNED NOT NULL, date DATE NOT NULL, env_value BLOB NOT NULL, KEY (run_id), KEY (env_id))`,
	`CREATE TABLE xalt_user (usr_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, user VARCHAR(32) NOT NULL, anon_user VARCHAR(12) NOT NULL)`,
	`CREATE TABLE xalt_account (acct_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, account VARCHAR(32) NOT NULL, anon_user VARCHAR(10) NOT NULL, field_of_science VARCHAR(64) NOT NULL)`,
	`CREATE TABLE xalt_function (func_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, function_name VARCHAR(255) NOT NULL UNIQUE)`,
	`CREATE TABLE join_link_function (join_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, func_id INT UNSIGNED NOT NULL, link_id INT UNSIGNED NOT NULL, date DATE NOT NULL, UNIQUE (func_id, link_id), KEY (link_id))`,
	`CREATE TABLE xalt_total_env (envT_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, run_id INT UNSIGNED NOT NULL, date DATE NOT NULL, env_blob BLOB NOT NULL)`,
	`CREATE TABLE xalt_pkg (pkg_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, run_id INT UNSIGNED NOT NULL, program VARCHAR(12) NOT NULL, pkg_name VARCHAR(64) NOT NULL,
pkg_version VARCHAR(32), pkg_path VARCHAR(1024), KEY (run_id))`,
	`CREATE TABLE xalt_field_of_science (fos_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, account VARCHAR(20) NOT NULL, field_of_science VARCHAR(80) NOT NULL, directorate VARCHAR(80) NOT NULL)`,
}

// XALTOptions follow XALT's tables in a character set: XALT's is utf8mb3.
func XALTOptions(charset string) string {
	return " ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=" + charset + " COLLATE=" + charset + "_bin"
}
