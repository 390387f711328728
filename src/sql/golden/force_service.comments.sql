SET NOCOUNT ON;
DECLARE @server nvarchar(128), @role int, @state int, @safety int, @sequence int, @online int, @witness nvarchar(128), @guid nvarchar(36), @partner nvarchar(128);
SET @server = CAST(SERVERPROPERTY('ServerName') AS nvarchar(128));
SELECT @role = m.mirroring_role, @state = m.mirroring_state, @safety = m.mirroring_safety_level, @sequence = m.mirroring_role_sequence, @online = d.state, @witness = m.mirroring_witness_name, @guid = CAST(m.mirroring_guid AS nvarchar(36)), @partner = m.mirroring_partner_instance
 FROM sys.databases AS d JOIN sys.database_mirroring AS m ON m.database_id = d.database_id
 WHERE d.name = N'a/*b--c*/d';
IF DB_NAME() = N'master' AND @server = N'a/*b--c*/d' AND @role = 2 AND (@state = 0 OR @state = 1) AND (@witness IS NULL OR @witness = N'') AND @sequence = 7 AND @guid = N'ABABABAB-ABAB-ABAB-ABAB-ABABABABABAB' AND @partner = N'a/*b--c*/d'
 ALTER DATABASE [a/*b--c*/d] SET PARTNER FORCE_SERVICE_ALLOW_DATA_LOSS
ELSE
 RAISERROR (N'lync-mirror guard: nothing was done; role %d (2), state %d (0 or 1), safety %d, database state %d, witness %s (none), role sequence %d (%d), server %s, partner %s, guid %s', 16, 77, @role, @state, @safety, @online, @witness, @sequence, 7, @server, @partner, @guid);